/**
 * The entry of a child process of a bench: one rank.
 *
 * @module
 */
import { serveRank } from "../../lib/team/serve.ts";
import { BENCH_PROGRAM } from "./team.ts";

if (import.meta.main) await serveRank(BENCH_PROGRAM);
