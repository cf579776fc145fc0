/**
 * Runs the tests: all of them, some files at a time in processes of their own, as many at once as there
 * are cores but not more than four; or, given arguments, `deno test` with them.
 *
 * A process has an environment and descriptors that its tests change and look into, so that files run
 * side by side in processes and not by `deno test --parallel`, whose threads share them.
 *
 *     deno task test
 *     deno task test tests/cli_test.ts --filter report
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { describeCpu } from "../lib/device/cpu_description.ts";
import { groupsOf, type Outcome, outcomeOf, summary, totalOf } from "./testing/outcomes.ts";

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const MOST_PROCESSES = 4;
const PERMISSIONS = [
  ...["--no-prompt", "--allow-read", "--allow-write", "--allow-env", "--allow-sys", "--allow-ffi"],
  ...["--allow-run", "--allow-net", "--allow-import=127.0.0.1"],
];

if (import.meta.main) {
  const env = await environment();
  Deno.exit(Deno.args.length === 0 ? await runAll(env) : await runSome(Deno.args, env));
}

/**
 * Tests compare what processes of their own compute, bit for bit. Each would measure which instruction
 * set is the fastest at a decode step's rows, which other load decides; `deno task test:isa` runs all.
 */
async function environment(): Promise<Record<string, string>> {
  if (Deno.env.has("STARX_ISA")) return {};
  try {
    const { best } = await describeCpu();
    return best === "" ? {} : { STARX_ISA: best };
  } catch {
    // Tests say what is wrong with the library.
    return {};
  }
}

async function runSome(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<number> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["test", ...PERMISSIONS, ...args],
    env,
  });
  return (await command.spawn().status).code;
}

async function runAll(env: Readonly<Record<string, string>>): Promise<number> {
  const startMs = performance.now();
  // Types are checked once for all.
  const checked = new Deno.Command(Deno.execPath(), { args: ["check", "."], cwd: ROOT }).spawn();
  if (!(await checked.status).success) return 1;
  const groups = groupsOf(await testFiles("tests"));
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    for (let files = groups.shift(); files !== undefined; files = groups.shift()) {
      outcomes.push(await runGroup(files, env));
    }
  };
  const processes = Math.min(MOST_PROCESSES, navigator.hardwareConcurrency);
  await Promise.all(Array.from({ length: processes }, work));
  const total = totalOf(outcomes);
  await write(summary(total, { seconds: (performance.now() - startMs) / 1000 }));
  return total.failed === 0 && total.passed > 0 ? 0 : 1;
}

/** Runs files in one process, and shows what it says when it has ended. */
async function runGroup(
  files: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<Outcome> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "--no-check", ...PERMISSIONS, ...files],
    cwd: ROOT,
    env,
    stdin: "null",
  }).output();
  const decoder = new TextDecoder();
  const text = decoder.decode(stdout);
  const errors = decoder.decode(stderr);
  await write(text + errors);
  return outcomeOf(text, { success, files, errors });
}

/** The test files below a folder, by their paths from the root. */
async function testFiles(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(`${ROOT}${folder}`)) {
    const path = `${folder}/${name}`;
    if (isDirectory) found.push(...await testFiles(path));
    else if (name.endsWith("_test.ts")) found.push(path);
  }
  return found;
}

async function write(text: string): Promise<void> {
  const writer = Deno.stdout.writable.getWriter();
  await writer.write(new TextEncoder().encode(text));
  writer.releaseLock();
}
