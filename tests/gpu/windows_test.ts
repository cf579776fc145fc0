/**
 * Attention with windows in each build for a GPU: the same bits whatever chunk a query comes in, and
 * whatever lies in front of its window. Ignored without a GPU; that the bits are right ones is for
 * the tests of tests/kernels.
 *
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { attentionBlockSparse } from "../../lib/ops/attention_block_sparse.ts";
import { attentionDense } from "../../lib/ops/attention_dense.ts";
import { assert } from "../helpers/assert.ts";
import { makeSequence, type Sequence, type SequenceSizes } from "../helpers/attention.ts";
import { assertSameBytes } from "../helpers/compare.ts";
import { HAS_GPU, withGpuBuilds } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { Bench } from "../helpers/twin.ts";

const TOKENS = 1_300;
/** Heads that share keys two by two, that are alone, and the small head. */
const HEADS = [
  { qHeads: 4, kvHeads: 2, headDim: 128 },
  { qHeads: 3, kvHeads: 3, headDim: 128 },
  { qHeads: 4, kvHeads: 1, headDim: 64 },
] as const;
/** None, within a tile, at its edges, over several. */
const WINDOWS = [0, 50, 128, 129, 700];

interface Rows {
  readonly first: number;
  readonly count: number;
}

/** Outputs and log-sum-exps of some rows, the keys behind them being there or not. */
async function attend(
  device: Device,
  sequence: Sequence,
  options: Rows & { window: number; keyTokens: number },
): Promise<Uint8Array[]> {
  const { first, count, window, keyTokens } = options;
  const q = sequence.q.rows(first, count);
  const make = (...shape: number[]) =>
    Tensor.allocate(device, { dtype: "f32", shape, label: "rows" });
  using out = make(...q.shape);
  using lse = make(count, q.shape[1] ?? 0);
  const keys = { ...sequence.keys, tokens: keyTokens };
  await attentionDense(device, { ...sequence, keys, q, out, lse, qOffset: first, window });
  return [await out.toBytes(), await lse.toBytes()];
}

/** Some rows of what attend() returned for all. */
function rowsOf(all: readonly Uint8Array[], { first, count }: Rows): Uint8Array<ArrayBuffer>[] {
  return all.map((bytes) => {
    const width = bytes.length / TOKENS;
    return Uint8Array.from(bytes.subarray(first * width, (first + count) * width));
  });
}

function assertSame(
  found: readonly Uint8Array[],
  options: { expected: readonly Uint8Array[]; name: string },
): void {
  for (const [i, bytes] of found.entries()) {
    const expected = options.expected[i];
    assert(expected !== undefined);
    assertSameBytes(Uint8Array.from(bytes), {
      expected: Uint8Array.from(expected),
      subject: { name: `${options.name}: ${i === 0 ? "out" : "lse"}`, shape: [bytes.length / 4] },
    });
  }
}

/** Runs a check for each build, kind of heads and window. */
async function forAll(
  seed: number,
  check: (
    bench: Bench,
    sizes: SequenceSizes,
    options: { window: number; name: string },
  ) => Promise<void>,
): Promise<void> {
  const inputs = HEADS.map(() => new Map());
  await withGpuBuilds(async (device, build) => {
    for (const [i, heads] of HEADS.entries()) {
      const sizes = { ...heads, tokens: TOKENS, keyTokens: TOKENS };
      for (const window of WINDOWS) {
        const shared = {
          inputs: inputs[i] ?? new Map(),
          random: new Random(seed),
          isForGpu: true,
        };
        using bench = new Bench(device, shared);
        const name = `${build}, ${heads.qHeads}/${heads.kvHeads} x ${heads.headDim}, ${window}`;
        await check(bench, sizes, { window, name });
      }
    }
  });
}

Deno.test({
  name: "attentionDense() on a GPU gives the same bits in one call and by chunks, windows too",
  ignore: !HAS_GPU,
  fn: async () => {
    await forAll(31, async (bench, sizes, { window, name }) => {
      const sequence = await makeSequence(bench, sizes);
      const all = { first: 0, count: TOKENS, keyTokens: TOKENS, window };
      const whole = await attend(bench.device, sequence, all);
      for (const chunk of [100, 384]) {
        for (let first = 0; first < TOKENS; first += chunk) {
          const rows = { first, count: Math.min(chunk, TOKENS - first) };
          const keyTokens = first + rows.count;
          assertSame(await attend(bench.device, sequence, { ...rows, keyTokens, window }), {
            expected: rowsOf(whole, rows),
            name: `${name} of ${rows.count} from ${first}`,
          });
        }
      }
    });
  },
});

Deno.test({
  name: "what lies in front of a window or behind a query changes no bit of attention on a GPU",
  ignore: !HAS_GPU,
  fn: async () => {
    const token = 517;
    await forAll(32, async (bench, sizes, { window, name }) => {
      const sequence = await makeSequence(bench, sizes);
      const all = { first: 0, count: TOKENS, keyTokens: TOKENS, window };
      const finite = await attend(bench.device, sequence, all);
      // The token's key and value, of all heads, each dimension being something else.
      const odd = Float32Array.from(
        { length: sizes.headDim },
        (_, d) => [NaN, Infinity, -Infinity, 3e38][d % 4] ?? 0,
      );
      const { keys: { keys, values, start } } = sequence;
      for (let head = 0; head < sizes.kvHeads; head++) {
        for (const tensor of [keys, values]) {
          await tensor.rows(head, 1).reshape([keys.shape[1] ?? 0, sizes.headDim])
            .rows(start + token, 1).writeFrom(odd);
        }
      }
      const found = await attend(bench.device, sequence, all);
      const end = window === 0 ? TOKENS : Math.min(TOKENS, token + window);
      for (const rows of [{ first: 0, count: token }, { first: end, count: TOKENS - end }]) {
        assertSame(rowsOf(found, rows), { expected: rowsOf(finite, rows), name });
      }
      const seen = rowsOf(found, { first: token, count: end - token })[0];
      assert(seen !== undefined);
      assert(
        new Float32Array(seen.buffer).every((value) => !Number.isFinite(value)),
        `${name}: those who see the token are not finite`,
      );
    });
  },
});

Deno.test({
  name: "attentionBlockSparse() of all tiles on a GPU gives the bits of attentionDense()",
  ignore: !HAS_GPU,
  fn: async () => {
    await forAll(33, async (bench, sizes, { window, name }) => {
      const { device } = bench;
      const sequence = await makeSequence(bench, sizes);
      const all = { first: 0, count: TOKENS, keyTokens: TOKENS, window };
      const expected = await attend(device, sequence, all);
      const tiles = Math.ceil(TOKENS / 128);
      const rows = sizes.qHeads * tiles;
      // Those in front of the window are listed, too.
      const [counts, indices] = [
        await bench.data("counts", {
          dtype: "i32",
          shape: [sizes.qHeads, tiles],
          make: () => Int32Array.from({ length: rows }, (_, row) => row % tiles + 1),
        }),
        await bench.data("indices", {
          dtype: "i32",
          shape: [sizes.qHeads, tiles, tiles],
          make: () => Int32Array.from({ length: rows * tiles }, (_, i) => i % tiles),
        }),
      ];
      const out = await bench.output("out", "f32", sequence.q.shape);
      const lse = await bench.output("lse", "f32", [TOKENS, sizes.qHeads]);
      const lists = { counts, indices, qOffset: 0, window };
      await attentionBlockSparse(device, { ...sequence, ...lists, out, lse });
      assertSame([await out.toBytes(), await lse.toBytes()], { expected, name });
    });
  },
});
