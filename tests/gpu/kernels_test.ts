/**
 * What only a GPU does: numbers that the host cannot check, recorded ops, its memory. The kernels
 * themselves are compared with their twins by the tests of tests/kernels.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { antidiagonalScore } from "../../lib/ops/antidiagonal_score.ts";
import { attentionDecode } from "../../lib/ops/attention_decode.ts";
import { embedding } from "../../lib/ops/embedding.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { makeSequence } from "../helpers/attention.ts";
import { assertClose, assertSameBytes } from "../helpers/compare.ts";
import { HAS_GPU, withGpuBuilds } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { BF16_INPUTS } from "../helpers/tolerances.ts";
import { Bench, type SharedInputs } from "../helpers/twin.ts";
import { massOfChunk } from "../helpers/tile_masses.ts";

function gpuTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !HAS_GPU, fn });
}

gpuTest("embedding() on a GPU gives NaN for an id that is not in the table", async () => {
  await withGpuBuilds(async (device) => {
    using out = Tensor.allocate(device, { dtype: "f32", shape: [4, 8], label: "out" });
    using table = Tensor.allocate(device, { dtype: "f32", shape: [3, 8], label: "table" });
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [4], label: "ids" });
    await table.writeFrom(new Float32Array(24).fill(2));
    await ids.writeFrom(Int32Array.of(2, 3, -1, 0));
    await embedding(device, { out, table, ids });
    const expected = [2, NaN, NaN, 2].flatMap((value) => new Array<number>(8).fill(value));
    assertEquals([...await out.toFloats()], expected);
  });
});

const SIZES = { tokens: 2, keyTokens: 300, qHeads: 4, kvHeads: 2, headDim: 128 } as const;

/** Decode attention over the first keys of a cache. */
async function decode(
  bench: Bench,
  count: number,
): Promise<{ out: Tensor; keyCount: Tensor; run: () => Promise<void> }> {
  const { device } = bench;
  const { q, keys, scale } = await makeSequence(bench, SIZES);
  const out = await bench.output("out", "f32", q.shape);
  const keyCount = await bench.data("keyCount", {
    dtype: "i32",
    shape: [1],
    make: () => Int32Array.of(count),
  });
  const run = (): Promise<void> =>
    attentionDecode(device, { out, q, keys, keyCount, causal: true, scale });
  return { out, keyCount, run };
}

gpuTest("attentionDecode() on a GPU gives NaN if the number of keys is out of range", async () => {
  await withGpuBuilds(async (device) => {
    for (const count of [301, -1, 2 ** 31 - 1]) {
      const shared = { inputs: new Map(), random: new Random(20), isForGpu: true };
      using bench = new Bench(device, shared);
      const { out, run } = await decode(bench, count);
      await run();
      assert((await out.toFloats()).every(Number.isNaN), `${count} keys must give NaN`);
    }
  });
});

gpuTest("attentionDecode() on a GPU, recorded once, follows the number of keys", async () => {
  const shared: SharedInputs = { inputs: new Map(), random: new Random(21), isForGpu: true };
  using cpu = await openCpuDevice({ threads: 1, instructionSet: "scalar", tests: true });
  using twinBench = new Bench(cpu, shared);
  const twin = await decode(twinBench, 1);
  await withGpuBuilds(async (device) => {
    using bench = new Bench(device, shared);
    const { out, keyCount, run } = await decode(bench, 1);
    assert(device.recorder !== undefined, "a GPU must be able to record ops");
    // A kernel that is used for the first time has to be loaded, which is no work to be recorded.
    await run();
    using recorded = await device.recorder.record(run);
    for (const count of [1, 2, 17, 64, 65, 129, 299, 300]) {
      for (const tensor of [keyCount, twin.keyCount]) await tensor.writeFrom(Int32Array.of(count));
      await recorded.run();
      await twin.run();
      assertClose(await out.toFloats(), {
        expected: await twin.out.toFloats(),
        tolerance: BF16_INPUTS,
        subject: { name: `out over ${count} keys`, shape: out.shape },
      });
    }
  });
});

/** Decode attention of a token of each of three sequences of one cache. */
async function decodeBatch(bench: Bench): Promise<{
  out: Tensor;
  keyCount: Tensor;
  firstRow: Tensor;
  run: () => Promise<void>;
}> {
  const { q, keys, scale } = await makeSequence(bench, { ...SIZES, tokens: 3, keyTokens: 1_000 });
  const out = await bench.output("out", "f32", q.shape);
  const numbers = (label: string): Promise<Tensor> => bench.ints(label, [3], { low: 0, high: 1 });
  const [keyCount, firstRow] = [await numbers("keyCount"), await numbers("firstRow")];
  const args = { out, q, keys, keyCount, firstRow, sequenceCapacity: 600, causal: true, scale };
  return { out, keyCount, firstRow, run: () => attentionDecode(bench.device, args) };
}

gpuTest(
  "attentionDecode() on a GPU, recorded once, follows every sequence of a batch",
  async () => {
    const shared: SharedInputs = { inputs: new Map(), random: new Random(22), isForGpu: true };
    using cpu = await openCpuDevice({ threads: 1, instructionSet: "scalar", tests: true });
    using twinBench = new Bench(cpu, shared);
    const twin = await decodeBatch(twinBench);
    await withGpuBuilds(async (device) => {
      using bench = new Bench(device, shared);
      const batch = await decodeBatch(bench);
      assert(device.recorder !== undefined, "a GPU must be able to record ops");
      await batch.run();
      using recorded = await device.recorder.record(batch.run);
      for (
        const [counts, rows] of [
          [[1, 0, 600], [0, 5, 400]],
          [[257, 300, 16], [700, 0, 984]],
          [[256, 512, 599], [128, 256, 401]],
        ] as const
      ) {
        for (const { keyCount, firstRow } of [batch, twin]) {
          await keyCount.writeFrom(Int32Array.from(counts));
          await firstRow.writeFrom(Int32Array.from(rows));
        }
        await recorded.run();
        await twin.run();
        assertClose(await batch.out.toFloats(), {
          expected: await twin.out.toFloats(),
          tolerance: BF16_INPUTS,
          subject: { name: `out over ${counts.join(", ")} keys`, shape: batch.out.shape },
        });
      }
      // A sequence whose rows are not in the cache gives NaN, the others go on.
      await batch.firstRow.writeFrom(Int32Array.of(0, 990, 0));
      await recorded.run();
      const rows = await batch.out.toFloats();
      const width = rows.length / 3;
      const areNaN = [0, 1, 2].map((i) =>
        rows.subarray(i * width, (i + 1) * width).every(Number.isNaN)
      );
      assertEquals(areNaN, [false, true, false]);
    });
  },
);

gpuTest("antidiagonalScore() on a GPU gives the same bits in one call and by chunks", async () => {
  // So many sums that one call works in passes, over key heads and over rows.
  const [tokens, chunk, stride] = [9_216, 2_048, 1];
  const sizes = { tokens, keyTokens: tokens, qHeads: 16, kvHeads: 2, headDim: 64 } as const;
  const shared: SharedInputs = { inputs: new Map(), random: new Random(12), isForGpu: true };
  await withGpuBuilds(async (device, build) => {
    using bench = new Bench(device, shared);
    const { q, keys, scale } = await makeSequence(bench, sizes);
    const massOf = async (
      qOffset: number,
      { count, window }: { count: number; window: number },
    ): Promise<Float32Array> => {
      const shape = [sizes.qHeads, Math.ceil(count / 128), Math.ceil((qOffset + count) / 128)];
      using mass = Tensor.allocate(device, { dtype: "f32", shape, label: "mass" });
      const segment = { ...keys, tokens: qOffset + count };
      const rows = q.rows(qOffset, count);
      const given = { mass, q: rows, keys: segment, qOffset, stride, scale, window };
      await antidiagonalScore(device, given);
      return await mass.toFloats();
    };
    // A window that hides nothing from the first chunks.
    for (const window of [0, 5_000]) {
      const whole = await massOf(0, { count: tokens, window });
      for (let qOffset = 0; qOffset < tokens; qOffset += chunk) {
        const count = Math.min(chunk, tokens - qOffset);
        const part = await massOf(qOffset, { count, window });
        const place = { heads: sizes.qHeads, qOffset, tokens: count, allTokens: tokens };
        const { mass: expected, shape } = massOfChunk(whole, place);
        assertSameBytes(new Uint8Array(part.buffer), {
          expected: new Uint8Array(expected.buffer),
          subject: { name: `${build}: mass from ${qOffset}, window ${window}`, shape },
        });
      }
    }
  });
});

gpuTest("memory on a GPU is zero-filled and counted", async () => {
  await withGpuBuilds(async (device: Device) => {
    // The same memory twice, so that it has been written before.
    for (let round = 0; round < 2; round++) {
      using tensor = Tensor.allocate(device, { dtype: "f32", shape: [70_001], label: "memory" });
      assertEquals(device.liveAllocations, 1);
      assert((await tensor.toFloats()).every((value) => value === 0), "new memory must be zero");
      await tensor.writeFrom(new Float32Array(tensor.size).fill(round + 1));
    }
    assertEquals(device.liveAllocations, 0);
  });
});

gpuTest("a device on a GPU cannot be opened with a build that nobody knows", async () => {
  const before = Deno.env.get("STARX_CUDA_KERNELS");
  Deno.env.set("STARX_CUDA_KERNELS", "volta");
  try {
    const error = await assertRejects(() => openCudaDevice(), KernelError);
    assertEquals(error.status, "SX_INVALID_ARGUMENT");
  } finally {
    if (before === undefined) Deno.env.delete("STARX_CUDA_KERNELS");
    else Deno.env.set("STARX_CUDA_KERNELS", before);
  }
});
