/**
 * Runs the whole-model reference checks once for every instruction set of this machine and every pair
 * of sets that it may measure to be the fastest, forced by the environment's STARX_ISA; the kernels' own
 * tests go through the sets by themselves.
 *
 *     deno task test:isa
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { describeCpu } from "../lib/device/cpu_description.ts";

const ROOT = new URL("../", import.meta.url);
const FILES = ["tests/reference_test.ts", "tests/lib/device_test.ts"];
const COUNTS = /(\d+) passed.*? (\d+) failed/g;

async function write(text: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(text));
}

/** Runs the checks with one set, or two with + between; what they counted. */
async function check(instructionSet: string): Promise<{ passed: number; failed: number }> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["task", "test", "--no-check", ...FILES],
    cwd: fileURLToPath(ROOT),
    env: { STARX_ISA: instructionSet, NO_COLOR: "1" },
  }).output();
  const text = new TextDecoder().decode(stdout);
  const [, passed = "0", failed = "0"] = [...text.matchAll(COUNTS)].at(-1) ?? [];
  if (!success) await write(`${text}${new TextDecoder().decode(stderr)}`);
  await write(`${instructionSet}: ${passed} passed, ${failed} failed\n`);
  // A run that did not come to its end counts nothing, and is a failure.
  return { passed: Number(passed), failed: success ? 0 : Math.max(1, Number(failed)) };
}

if (import.meta.main) {
  const { instructionSets, best, rows } = await describeCpu();
  let passed = 0;
  let failed = 0;
  for (const instructionSet of [...instructionSets, ...rows.map((set) => `${best}+${set}`)]) {
    const counts = await check(instructionSet);
    passed += counts.passed;
    failed += counts.failed;
  }
  await write(`${passed} passed | ${failed} failed\n`);
  Deno.exit(failed === 0 && passed > 0 ? 0 : 1);
}
