/**
 * Ranks with a fake GPU each, which exchange over a fake NCCL between processes; ignored without a C
 * compiler.
 *
 * @module
 */
import { PRECISIONS } from "../../lib/model/precision.ts";
import { WorkerError } from "../../lib/errors.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import type { GenerateResult, Progress } from "../../lib/star/request.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { addFakeNccl, buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { goldenEntries, goldenPlan } from "../helpers/golden.ts";
import { inFolder } from "../helpers/folder.ts";
import { runAlone, writeInput } from "../helpers/nodes.ts";
import { TcpRanks } from "../helpers/tcp_ranks.ts";
import { childrenOf, waitUntilEnded } from "../helpers/processes.ts";
import { goldenRequest, MODEL, openTiny, STAR } from "../helpers/prompts.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;
const libraries = folder === undefined ? "" : await addFakeNccl(folder);
const [entry] = await goldenEntries();
assert(entry !== undefined);

/** A fake GPU computes a layer of 8,192 tokens without vectors: that takes a busy machine a minute. */
const TIMEOUT_MS = 600_000;

/** Runs with as many GPUs as ranks. */
async function withGpus(
  count: number,
  run: () => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const gpus = { STARX_CUDA: libraries, FAKE_GPUS: String(count) };
  await withFakeGpu(folder, run, { ...gpus, ...settings });
}

/** Runs the reference's prompt. */
async function generate(
  name: string,
  options: { processCount: number; contextTokens?: number; blockTokens?: number },
): Promise<GenerateResult> {
  assert(entry !== undefined);
  const { processCount, contextTokens = entry.context_ids.length, blockTokens } = options;
  const known = goldenPlan(name === "ring" ? "star" : name, entry);
  assert(known !== undefined);
  const mode = name === "ring" ? "ring" as const : known.mode;
  const sizes = blockTokens === undefined ? {} : { blockTokens, anchorTokens: blockTokens };
  await using engine = await openEngine({
    modelFolder: MODEL,
    plan: checkPlan({ ...known, ...sizes, mode }),
    device: "cuda",
    precision: PRECISIONS.bf16,
    threads: 2,
    processCount,
    timeoutMs: TIMEOUT_MS,
  });
  if (processCount > 1) {
    const isShared = Number(Deno.env.get("FAKE_GPUS")) < processCount;
    const exchange = isShared ? "shared memory" : "NCCL 2.29.5";
    assert(engine.deviceDescription.endsWith(`processes, ${exchange}`), engine.deviceDescription);
  }
  const { context_ids: ids, query_ids: queryIds } = entry;
  return await engine.generate({
    sample: entry.task,
    contextIds: Int32Array.from({ length: contextTokens }, (_, i) => ids[i % ids.length] ?? 0),
    queryIds: Int32Array.from(queryIds),
    tokensToGenerate: 24,
    stopIds: [],
    topLogits: 24,
  });
}

for (const gpus of [1, 2]) {
  const test = `a rank without a block learns the tokens, too: 2 ranks on ${gpus} GPUs`;
  Deno.test({ name: test, ignore }, async () => {
    await withGpus(gpus, async () => {
      // The whole context is one block. Ranks that disagree fail when their results are joined.
      const found = await generate("star", { processCount: 2, blockTokens: 4096 });
      const expected = await generate("star", { processCount: 1, blockTokens: 4096 });
      assertEquals(found.ranks.map(({ blocks }) => blocks), [1, 0]);
      assertEquals(found.ids, expected.ids);
    });
  });
}

const STARX = Object.keys(entry.modes).find((name) => name.startsWith("starx")) ?? "";

const RUNS = [
  ...[["star", 2], ["star", 3], ["star", 8], [STARX, 2], [STARX, 4], ["ring", 2], ["ring", 4]],
] as const;

for (const [name, processCount] of RUNS) {
  const test = `ranks with a GPU each give one GPU's ids over NCCL: ${name}, ${processCount} ranks`;
  Deno.test({ name: test, ignore }, async () => {
    await withGpus(processCount, async () => {
      const found = await generate(name, { processCount });
      const expected = await generate(name === "ring" ? "dense" : name, { processCount: 1 });
      assertEquals(found.ids, expected.ids);
    });
  });
}

for (const name of ["star", STARX]) {
  const test = `rank 0 sends the anchor, and nobody else encodes it: ${name}`;
  Deno.test({ name: test, ignore }, async () => {
    const run = async (anchorStream: "on" | "off") => {
      let result: GenerateResult | undefined;
      await withGpus(2, async () => {
        // Chunks have 8,192 tokens: two of them run side by side.
        const sizes = { contextTokens: 17_400, blockTokens: 8_704 };
        result = await generate(name, { processCount: 2, ...sizes });
      }, { STARX_ANCHOR_STREAM: anchorStream });
      assert(result !== undefined);
      return result;
    };
    const [sent, encoded] = [await run("on"), await run("off")];
    assertEquals(sent.ranks.map(({ anchorPasses }) => anchorPasses), [0, 0]);
    assertEquals(encoded.ranks.map(({ anchorPasses }) => anchorPasses), [0, 1]);
    assertEquals(sent.ranks.map(({ blocks }) => blocks), [1, 1]);
    assertEquals(sent.ids, encoded.ids);
    assertEquals(sent.topLogits, encoded.topLogits);
    assertEquals(sent.selectedTiles, encoded.selectedTiles);
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

Deno.test(
  { name: "ranks with a GPU each that met over TCP exchange over NCCL", ignore },
  async () => {
    await withGpus(2, () =>
      inFolder({}, async (place) => {
        const input = `${place}/in.jsonl`;
        await writeInput(input, { samples: 1 });
        const run = (output: string) => [
          ...["infer", "-p", MODEL, "-a", "star", "-bs", "256", "--device", "cuda"],
          ...["--tokens_to_generate", "8", "--input_path", input, "--output_path", output],
        ];
        const ended = await runAlone([...run(`${place}/np.jsonl`), "-np", "2"]);
        assertEquals(ended.code, 0, ended.stderr);
        await using ranks = new TcpRanks(run(`${place}/tcp.jsonl`), { size: 2 });
        const ends = await ranks.allEnded();
        const texts = ends.map(({ stderr }) => stderr).join("\n");
        assertEquals(ends.map(({ code }) => code), [0, 0], texts);
        assertMatch(texts, /2 processes, NCCL 2\.29\.5/);
        assertEquals(
          await Deno.readTextFile(`${place}/tcp.jsonl`),
          await Deno.readTextFile(`${place}/np.jsonl`),
        );
      }));
  },
);

/** Stopped ranks: the others wait for the anchor that rank 0 does not send, or for one's part. */
const STOPS = [
  { phase: "phase 1", victim: 0, ranks: 2 },
  { phase: "phase 2", victim: 1, ranks: 2 },
  { phase: "phase 1", victim: 3, ranks: 4 },
  { phase: "phase 2", victim: 4, ranks: 8 },
] as const;
/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 8_000;

for (const { phase, victim, ranks } of STOPS) {
  const test =
    `${ranks} ranks on GPUs end if rank ${victim} is stopped in ${phase}, which is named`;
  Deno.test({ name: test, ignore }, async () => {
    await withGpus(ranks, async () => {
      // On more than two ranks, blocks of which each has one or two.
      const blockTokens = ranks === 2 ? 512 : 128;
      const plan = { ...STAR, blockTokens, anchorTokens: blockTokens };
      const run = { processCount: ranks, device: "cuda", timeoutMs: HANG_MS } as const;
      const engine = await openTiny({ plan, ...run });
      const children = childrenOf(Deno.pid);
      const { pid = 0 } = children.find(({ command }) => command.includes(`--rank=${victim}`)) ??
        {};
      const task = "niah_multikey_2";
      // Short steps, so that a rank that works never stands still for long.
      const known = await goldenRequest({ task, tokensToGenerate: 400 });
      let isStopped = false;
      const onProgress = (progress: Progress) => {
        if (progress.phase !== phase || isStopped) return;
        isStopped = true;
        Deno.kill(pid, "SIGSTOP");
      };
      const error = await assertRejects(
        () => engine.generate(known, { onProgress }),
        WorkerError,
      );
      assertMatch(
        error.message,
        new RegExp(`^Lost rank ${victim} in ${phase}: it made no progress`),
      );
      await waitUntilEnded(children.map(({ pid }) => pid), { timeoutMs: 60_000 });
      await engine[Symbol.asyncDispose]();
    });
  });
}
