/**
 * What is not selected as means, against the formula in plain loops of doubles.
 *
 * @module
 */
import type { Device } from "../../../lib/device/device.ts";
import type { KvSegment } from "../../../lib/device/kv_segment.ts";
import { Tensor } from "../../../lib/device/tensor.ts";
import { Workspace, workspaceBytes } from "../../../lib/device/workspace.ts";
import { attendWithMeans, keptMeansTensor, restTensors } from "../../../lib/attention/rest.ts";
import { TILE_TOKENS } from "../../../lib/ffi/symbols.ts";
import { attentionBlockSparse } from "../../../lib/ops/attention_block_sparse.ts";
import { assert, assertEquals, assertNotEquals } from "../../helpers/assert.ts";
import { makeSequence, type Sequence, type SequenceSizes } from "../../helpers/attention.ts";
import { assertClose } from "../../helpers/compare.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "../../helpers/device.ts";
import { Random, seedOf } from "../../helpers/random.ts";
import { scattered, type TakesTile, tileList } from "../../helpers/tile_lists.ts";
import { BF16_INPUTS, F32_SUMS } from "../../helpers/tolerances.ts";
import { Bench } from "../../helpers/twin.ts";

interface Sizes extends SequenceSizes {
  readonly window?: number;
  readonly prefixGap?: number;
  readonly takes: TakesTile;
}

/** As a selection does: the diagonal always. */
function withDiagonal(takes: TakesTile): TakesTile {
  return (head, row, column) => row === column || takes(head, row, column);
}

/** Without a prefix and behind an anchor, GQA, ragged last tiles, windows. */
const CASES: Readonly<Record<string, Sizes>> = {
  "one segment": {
    ...{ tokens: 700, keyTokens: 700, qHeads: 4, kvHeads: 2, headDim: 64 },
    takes: withDiagonal(scattered(40)),
  },
  "behind an anchor": {
    ...{ tokens: 430, prefixTokens: 256, keyTokens: 430, qHeads: 6, kvHeads: 2, headDim: 128 },
    ...{ prefixGap: 384, takes: withDiagonal(scattered(30)) },
  },
  "a window": {
    ...{ tokens: 900, keyTokens: 900, qHeads: 2, kvHeads: 1, headDim: 64, window: 400 },
    takes: withDiagonal(() => false),
  },
  "a window that sees part of an anchor": {
    ...{ tokens: 300, prefixTokens: 384, keyTokens: 300, qHeads: 2, kvHeads: 2, headDim: 64 },
    ...{ prefixGap: 128, window: 500, takes: withDiagonal(scattered(30)) },
  },
};

interface Attended {
  readonly sequence: Sequence;
  /** [tokens, heads, head size]. */
  readonly out: Float32Array<ArrayBuffer>;
}

/** Attends chunk after chunk; `keeps`: each makes the means of its own tiles alone. */
async function attend(
  bench: Bench,
  sizes: Sizes,
  options: { chunk?: number; rest?: boolean; keeps?: boolean } = {},
): Promise<Attended> {
  const { device } = bench;
  const { tokens, qHeads, kvHeads, headDim, prefixTokens = 0, window, prefixGap } = sizes;
  const { chunk = tokens, rest = true, keeps = false } = options;
  const sequence = await makeSequence(bench, sizes);
  const { q, scale } = sequence;
  const prefix = sequence.prefix;
  using owned = new DisposableStack();
  const out = owned.use(Tensor.allocate(device, { dtype: "f32", shape: q.shape, label: "out" }));
  const keyTokens = prefixTokens + tokens;
  const sizesOf = { queryHeads: qHeads, kvHeads, headDim, queryTokens: chunk, keyTokens };
  const most = { ...sizesOf, outDtype: "f32" } as const;
  const bytes = workspaceBytes(restTensors(device, most, { keepsMeans: keeps }));
  const scratch = owned.use(Workspace.allocate(device, bytes));
  const takeMeans = async (label: string) => {
    const tensor = owned.use(
      Tensor.allocate(device, { ...keptMeansTensor(device, most), label }),
    );
    // What another sequence has left.
    await tensor.writeFrom(new Float32Array(tensor.size).fill(NaN));
    return tensor;
  };
  const kept = keeps
    ? { keys: await takeMeans("mean keys"), values: await takeMeans("mean values") }
    : undefined;
  for (let first = 0; first < tokens; first += chunk) {
    const count = Math.min(chunk, tokens - first);
    const qOffset = prefixTokens + first;
    const list = tileList({ ...sizes, tokens: count, keyTokens: first + count, qOffset });
    const ints = async (values: Int32Array<ArrayBuffer>, shape: readonly number[]) => {
      const tensor = owned.use(Tensor.allocate(device, { dtype: "i32", shape, label: "tiles" }));
      await tensor.writeFrom(values);
      return tensor;
    };
    const keys: KvSegment = { ...sequence.keys, tokens: first + count };
    const args = {
      ...{ q: q.rows(first, count), out: out.rows(first, count), keys, prefix, qOffset, scale },
      ...{ window, prefixGap },
      counts: await ints(list.counts, [qHeads, list.queryTiles]),
      indices: await ints(list.indices, [qHeads, list.queryTiles, list.indexStride]),
    };
    scratch.reset();
    if (rest) await attendWithMeans(device, { ...args, scratch, kept });
    else await attentionBlockSparse(device, args);
  }
  return { sequence, out: await out.toFloats() };
}

/** Keys or values in the sequence's order: [token][kv head] to a row. */
async function rowsOf(
  sequence: Sequence,
  name: "keys" | "values",
): Promise<(token: number, head: number) => Float32Array> {
  const read = async (segment: KvSegment) => {
    const [, capacity = 0, dim = 0] = segment[name].shape;
    const floats = await segment[name].toFloats();
    return (token: number, head: number) => {
      const row = head * capacity + segment.start + token;
      return floats.subarray(row * dim, (row + 1) * dim);
    };
  };
  const own = await read(sequence.keys);
  if (sequence.prefix === undefined) return own;
  const { tokens } = sequence.prefix;
  const prefix = await read(sequence.prefix);
  return (token, head) => token < tokens ? prefix(token, head) : own(token - tokens, head);
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += (a[i] ?? NaN) * (b[i] ?? NaN);
  return sum;
}

/** The mean of the rows of a tile. */
function meanOf(row: (token: number, head: number) => Float32Array, tile: number, head: number) {
  const dim = row(0, head).length;
  const sum = new Float64Array(dim);
  for (let token = tile * TILE_TOKENS; token < (tile + 1) * TILE_TOKENS; token++) {
    row(token, head).forEach((x, d) => sum[d] = (sum[d] ?? 0) + x / TILE_TOKENS);
  }
  return sum;
}

/** The formula, query after query. */
async function expected({ sequence }: Attended, sizes: Sizes): Promise<Float32Array<ArrayBuffer>> {
  const { tokens, qHeads, kvHeads, headDim, prefixTokens = 0, window = 0, prefixGap = 0 } = sizes;
  const { scale } = sequence;
  const [q, key, value] = [
    await sequence.q.toFloats(),
    await rowsOf(sequence, "keys"),
    await rowsOf(sequence, "values"),
  ];
  const positionOf = (place: number) => place + (place < prefixTokens ? 0 : prefixGap);
  const out = new Float32Array(tokens * qHeads * headDim);
  for (let head = 0; head < qHeads; head++) {
    const kvHead = Math.floor(head / (qHeads / kvHeads));
    const tiles = Math.floor((prefixTokens + tokens) / TILE_TOKENS);
    const means = Array.from({ length: tiles }, (_, tile) => ({
      key: meanOf(key, tile, kvHead),
      value: meanOf(value, tile, kvHead),
    }));
    for (let t = 0; t < tokens; t++) {
      const place = prefixTokens + t;
      const own = Math.floor(place / TILE_TOKENS);
      const sees = (token: number) =>
        token <= place && (window === 0 || positionOf(token) > positionOf(place) - window);
      const at = (t * qHeads + head) * headDim;
      const query = q.subarray(at, at + headDim);
      let weights = 0;
      const sum = new Float64Array(headDim);
      const add = (weight: number, row: ArrayLike<number>) => {
        weights += weight;
        for (let d = 0; d < headDim; d++) sum[d] = (sum[d] ?? 0) + weight * (row[d] ?? NaN);
      };
      for (let tile = 0; tile <= own; tile++) {
        const of = Array.from({ length: TILE_TOKENS }, (_, i) => tile * TILE_TOKENS + i);
        if (sizes.takes(head, own, tile)) {
          for (const token of of.filter(sees)) {
            add(Math.exp(scale * dot(query, key(token, kvHead))), value(token, kvHead));
          }
        } else if (tile < own && of.every(sees)) {
          const mean = means[tile];
          assert(mean !== undefined);
          add(TILE_TOKENS * Math.exp(scale * dot(query, mean.key)), mean.value);
        }
      }
      sum.forEach((x, d) => out[at + d] = x / weights);
    }
  }
  return out;
}

function benchOf(device: Device, label: string): Bench {
  const isForGpu = device.queryDtype === "bf16";
  return new Bench(device, { inputs: new Map(), random: new Random(seedOf(label)), isForGpu });
}

async function checkFormula(device: Device): Promise<void> {
  for (const [label, sizes] of Object.entries(CASES)) {
    using bench = benchOf(device, label);
    const attended = await attend(bench, sizes);
    assertClose(attended.out, {
      expected: await expected(attended, sizes),
      tolerance: device.queryDtype === "bf16" ? BF16_INPUTS : F32_SUMS,
      subject: { name: `${device.description}: ${label}`, shape: attended.sequence.q.shape },
    });
    using same = benchOf(device, label);
    const dropped = await attend(same, sizes, { rest: false });
    assertNotEquals(attended.out, dropped.out);
  }
}

/** Chunks of whole tiles change no bit, and neither do keys that only later rows see. */
async function checkChunks(device: Device): Promise<void> {
  for (const [label, sizes] of Object.entries(CASES)) {
    let whole: Float32Array | undefined;
    for (const chunk of [sizes.tokens, 256, 128]) {
      for (const keeps of [false, true]) {
        using bench = benchOf(device, label);
        const { out } = await attend(bench, sizes, { chunk, keeps });
        whole ??= out;
        const what = `${device.description}: ${label}, by ${chunk}, ${keeps ? "" : "not "}kept`;
        assertEquals(out, whole, what);
      }
    }
    using bench = benchOf(device, label);
    const { prefixTokens = 0, qHeads, headDim } = sizes;
    const unread = (token: number) => token >= prefixTokens + 2 * TILE_TOKENS;
    const { out } = await attend(bench, { ...sizes, unread });
    const early = 2 * TILE_TOKENS * qHeads * headDim;
    const what = `${device.description}: ${label}, NaN behind`;
    assertEquals(out.subarray(0, early), whole?.subarray(0, early), what);
    assert(out.subarray(early).every(Number.isNaN), "later rows read what is NaN");
  }
}

Deno.test("attendWithMeans() is the formula of its header on every instruction set", async () => {
  for (const instructionSet of await machineSets()) {
    await withCpu(checkFormula, { instructionSet });
  }
});

Deno.test({
  name: "attendWithMeans() on a GPU is the formula of its header",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds((device) => checkFormula(device)),
});

Deno.test("attendWithMeans() gives the same bits by chunks, and reads nothing behind a row", async () => {
  for (const instructionSet of await machineSets()) {
    await withCpu(checkChunks, { instructionSet });
  }
});

Deno.test({
  name: "attendWithMeans() on a GPU gives the same bits by chunks, and reads nothing behind a row",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds((device) => checkChunks(device)),
});

Deno.test("attendWithMeans() of all tiles is attentionBlockSparse(), bit for bit", async () => {
  await withCpu(async (device) => {
    const sizes = { ...CASES["one segment"], takes: () => true } as Sizes;
    using bench = benchOf(device, "all");
    const { out } = await attend(bench, sizes);
    using same = benchOf(device, "all");
    assertEquals(out, (await attend(same, sizes, { rest: false })).out);
  });
});
