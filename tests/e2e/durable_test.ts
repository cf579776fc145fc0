/**
 * What a run writes keeps its name when the machine stops: each file that is made or renamed, and
 * each folder, is followed by an fsync of the folder that has its entry.
 *
 * @module
 */
import { dirname } from "node:path";
import {
  buildFaults,
  faultVariables,
  type FileCall,
  parseCalls,
} from "../../scripts/torture/crashes.ts";
import { startProgram } from "../../scripts/torture/programs.ts";
import { argsOf, writeInput } from "../../scripts/torture/runs.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const hasCompiler = await new Deno.Command("g++", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);
const LIMIT_MS = 300_000;
/** They say who is at work, and mean nothing to anybody afterwards. */
const PASSING = /\.lock$|\.unfinished$/;

/** The calls of a run on the folder of its results. */
async function callsOf(folder: string, command: "infer" | "ruler"): Promise<FileCall[]> {
  const library = await buildFaults(folder);
  const cwd = `${folder}/run`;
  await Deno.mkdir(cwd);
  await writeInput(cwd);
  const log = `${folder}/calls`;
  const env = faultVariables(library, { folder: cwd, log });
  const args = argsOf({ command, ranks: 1, batch: 1 });
  const { code, stderr } = await startProgram(args, { cwd, timeoutMs: LIMIT_MS, env }).ended;
  assertEquals(code, 0, stderr);
  return parseCalls(await Deno.readTextFile(log));
}

for (const command of ["infer", "ruler"] as const) {
  Deno.test({
    name: `${command} puts the names of what it makes on disk before it writes records`,
    ignore: !hasCompiler || Deno.build.os !== "linux",
    fn: () =>
      inFolder({}, async (folder) => {
        const calls = await callsOf(folder, command);
        const firstRecord = calls.find(({ name, path }) =>
          name === "write" && /\/(out|vt)\.jsonl$/.test(path)
        )?.number ?? 0;
        assert(firstRecord > 0, "a run writes records");
        const isSynced = (path: string, after: number, before: number) =>
          calls.some(({ name, path: synced, number }) =>
            name === "fsync" && synced === dirname(path) && number > after && number < before
          );
        const made = new Set<string>();
        for (const { name, path, number } of calls) {
          if (name === "rename") {
            assert(isSynced(path, number, Infinity), `${path} is renamed: call ${number}`);
          }
          if (!["create", "mkdir"].includes(name) || PASSING.test(path) || made.has(path)) continue;
          // The first attempt at a folder may fail as the one above it is missing, a later one as it
          // is there: one sync behind the first is enough.
          made.add(path);
          const isThere = name === "mkdir" && path === `${folder}/run`;
          const before = number < firstRecord ? firstRecord : Infinity;
          assert(isThere || isSynced(path, number, before), `${path} is made: call ${number}`);
        }
        assert(calls.some(({ name }) => name === "rename"), "a run renames files");
      }),
  });
}
