/**
 * Ranks with a fake GPU each, which exchange over a fake NCCL between processes; ignored without a C
 * compiler.
 *
 * @module
 */
import { openEngine } from "../../lib/star/engine.ts";
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { addFakeNccl, buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { goldenEntries, goldenPlan } from "../helpers/golden.ts";
import { runAlone } from "../helpers/hosts.ts";
import { MODEL } from "../helpers/prompts.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;
const libraries = folder === undefined ? "" : await addFakeNccl(folder);
const [entry] = await goldenEntries();
assert(entry !== undefined);

/** Runs with as many GPUs as ranks. */
async function withGpus(
  count: number,
  run: () => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const gpus = { STARX_CUDA: libraries, FAKE_GPUS: String(count) };
  await withFakeGpu(folder, run, { ...gpus, ...settings });
}

/** The greedy ids of the reference's prompt. */
async function idsOf(name: string, processCount: number): Promise<readonly number[]> {
  assert(entry !== undefined);
  const star = goldenPlan("star", entry);
  const plan = name === "ring" && star !== undefined
    ? { ...star, mode: "ring" as const }
    : goldenPlan(name, entry);
  assert(plan !== undefined);
  await using engine = await openEngine({
    modelFolder: MODEL,
    plan,
    device: "cuda",
    dtype: "bf16",
    threads: 2,
    processCount,
    timeoutMs: 60_000,
  });
  if (processCount > 1) assertMatch(engine.deviceDescription, /processes, NCCL 2\.29\.5$/);
  const { ids } = await engine.generate({
    sample: entry.task,
    contextIds: Int32Array.from(entry.context_ids),
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate: 24,
    stopIds: [],
    topLogits: 24,
  });
  return ids;
}

const STARX = Object.keys(entry.modes).find((name) => name.startsWith("starx")) ?? "";

for (const [name, processCount] of [["star", 2], ["star", 3], [STARX, 2], ["ring", 2]] as const) {
  const test = `ranks with a GPU each give one GPU's ids over NCCL: ${name}, ${processCount} ranks`;
  Deno.test({ name: test, ignore }, async () => {
    await withGpus(processCount, async () => {
      const found = await idsOf(name, processCount);
      assertEquals(found, await idsOf(name === "ring" ? "dense" : name, 1));
    });
  });
}

Deno.test({ name: "bench times ranks with a GPU each", ignore }, async () => {
  await withGpus(2, async () => {
    const flags = ["-np", "2", "--shape", "small", "--device", "cuda", "-a", "star", "ring"];
    const sizes = ["-l", "1024", "-bs", "256", "--decode", "512", "--decode_tokens", "3"];
    const ended = await runAlone(["bench", ...flags, ...sizes, "--repeats", "2"]);
    assertEquals(ended.code, 0, ended.stderr);
    assertMatch(ended.stdout, /Fake GPU .*, 2 processes over NCCL 2\.29\.5, bf16, ring\n/);
  });
});
