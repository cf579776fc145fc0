/**
 * The entry of a worker process: one rank of a model.
 *
 * @module
 */
import { serveRank } from "../team/serve.ts";
import { STAR_PROGRAM } from "./star_program.ts";

if (import.meta.main) await serveRank(STAR_PROGRAM);
