/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { floatsToElements } from "../../lib/device/elements.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import { attentionRest } from "../../lib/ops/attention_rest.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { Random, roundToBf16 } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { scattered, type TakesTile, tileList } from "../helpers/tile_lists.ts";
import { BF16_STEP, F32_SUMS, GPU_ATTENTION } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

type MeanLabel = "mean keys" | "mean values";

interface Sizes {
  readonly tokens: number;
  readonly qOffset: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly outDtype?: DType;
  readonly window?: number;
  readonly prefixTokens?: number;
  readonly prefixGap?: number;
  readonly scale?: number;
  /** Rows of these numbers have nothing yet: a log-sum-exp of -inf. */
  readonly isEmpty?: (row: number) => boolean;
  /** Tiles of which a mean is something else than a small number in one place. */
  readonly odd?: readonly {
    readonly label: MeanLabel;
    readonly tile: number;
    readonly value: number;
  }[];
  readonly takes: TakesTile;
}

const all: TakesTile = () => true;
const none: TakesTile = () => false;

/** One token, no rest, all rest, a ragged last tile, GQA, windows over one and two segments. */
const SIZES: readonly Sizes[] = [
  { tokens: 1, qOffset: 0, qHeads: 1, kvHeads: 1, headDim: 64, takes: none },
  { tokens: 0, qOffset: 128, qHeads: 2, kvHeads: 1, headDim: 64, takes: none },
  { tokens: 300, qOffset: 0, qHeads: 2, kvHeads: 1, headDim: 64, takes: all },
  { tokens: 300, qOffset: 0, qHeads: 4, kvHeads: 2, headDim: 128, takes: none },
  { tokens: 513, qOffset: 256, qHeads: 6, kvHeads: 2, headDim: 64, takes: scattered(50) },
  {
    ...{ tokens: 200, qOffset: 1_280, qHeads: 2, kvHeads: 1, headDim: 128, outDtype: "bf16" },
    takes: scattered(30),
  },
  // Some rows with nothing chosen, and a scale below 0.
  {
    ...{ tokens: 140, qOffset: 512, qHeads: 3, kvHeads: 3, headDim: 64, scale: -0.2 },
    isEmpty: (row) => row % 5 === 0,
    takes: scattered(40),
  },
  { tokens: 500, qOffset: 128, qHeads: 2, kvHeads: 1, headDim: 64, window: 300, takes: none },
  {
    ...{ tokens: 300, qOffset: 512, qHeads: 4, kvHeads: 2, headDim: 128, window: 700 },
    ...{ prefixTokens: 384, prefixGap: 256, takes: scattered(40) },
  },
  // More tiles than a list, or a pack, takes at once.
  { tokens: 129, qOffset: 537_600, qHeads: 1, kvHeads: 1, headDim: 64, takes: scattered(60) },
];

const GPU_SIZES: readonly Sizes[] = [
  { tokens: 1_300, qOffset: 8_192, qHeads: 8, kvHeads: 2, headDim: 128, takes: scattered(20) },
  {
    ...{ tokens: 640, qOffset: 512, qHeads: 4, kvHeads: 1, headDim: 128, outDtype: "bf16" },
    takes: scattered(70),
  },
];

const tilesOf = ({ tokens, qOffset }: Sizes): number => Math.ceil((qOffset + tokens) / TILE_TOKENS);

/** Means that no row's rest has become NaN, and others what a case says. */
function spoilMeans(
  values: Float32Array,
  options: { sizes: Sizes; label: MeanLabel; isRead: (tile: number, kvHead: number) => boolean },
): void {
  const { sizes, label, isRead } = options;
  const { kvHeads, headDim, odd = [] } = sizes;
  const rows = tilesOf(sizes) + 1;
  for (let row = 0; row < kvHeads * rows; row++) {
    const tile = row % rows - 1;
    const used = tile >= 0 && isRead(tile, Math.floor(row / rows));
    if (!used) values.fill(NaN, row * headDim, (row + 1) * headDim);
    for (const one of odd) {
      if (tile === one.tile && label === one.label) values[row * headDim + 5] = one.value;
    }
  }
}

/** Runs the op; means that no row's rest has are NaN. */
async function runRest(bench: Bench, sizes: Sizes, aliases = false): Promise<void> {
  const { tokens, qOffset, qHeads, kvHeads, headDim, outDtype = "f32", isEmpty, takes } = sizes;
  const { window, prefixTokens, prefixGap, scale = headDim ** -0.5 } = sizes;
  const tiles = tilesOf(sizes);
  const { counts, indices, queryTiles, indexStride } = tileList({
    ...sizes,
    keyTokens: qOffset + tokens,
    prefixTokens: 0,
  });
  const firstTile = qOffset / TILE_TOKENS;
  const isRead = (tile: number, kvHead: number): boolean => {
    for (let head = kvHead * qHeads / kvHeads; head < (kvHead + 1) * qHeads / kvHeads; head++) {
      for (let row = firstTile; row < firstTile + queryTiles; row++) {
        if (tile < row && !takes(head, row, tile)) return true;
      }
    }
    return false;
  };
  const makeMeans = (label: MeanLabel) =>
    bench.data(label, {
      dtype: bench.device.queryDtype,
      shape: [kvHeads, tiles + 1, headDim],
      make: (count, random) => {
        const floats = random.floats(count, 1);
        const values = bench.isForGpu ? roundToBf16(floats) : floats;
        spoilMeans(values, { sizes, label, isRead });
        return values;
      },
    });
  const shape = [tokens, qHeads, headDim];
  const empty = (row: number) => isEmpty?.(row) === true;
  const q = await bench.queries("q", shape);
  const means = {
    keys: await makeMeans("mean keys"),
    values: await makeMeans("mean values"),
    ...{ start: 1, tokens: tiles },
  };
  const partial = await bench.data("partial", {
    dtype: "f32",
    shape,
    make: (count, random) =>
      random.floats(count, 1).map((x, i) => empty(Math.floor(i / headDim)) ? 0 : x),
  });
  // As much as some tiles of the rest have.
  const partialLse = await bench.data("partial lse", {
    dtype: "f32",
    shape: shape.slice(0, 2),
    make: (count, random) => random.floats(count, 2).map((x, i) => empty(i) ? -Infinity : 9 + x),
  });
  const ints = (label: string, extents: readonly number[], values: Int32Array<ArrayBuffer>) =>
    bench.data(label, { dtype: "i32", shape: extents, make: () => values });
  const out = aliases
    ? await bench.outputFrom("out", partial)
    : await bench.output("out", outDtype, shape);
  const lse = aliases
    ? await bench.outputFrom("lse", partialLse)
    : await bench.output("lse", "f32", shape.slice(0, 2));
  await attentionRest(bench.device, {
    ...{ out, lse, q, means, qOffset, scale, window, prefixTokens, prefixGap },
    partial: aliases ? out : partial,
    partialLse: aliases ? lse : partialLse,
    counts: await ints("counts", [qHeads, queryTiles], counts),
    indices: await ints("indices", [qHeads, queryTiles, indexStride], indices),
  });
}

/** Each of these tiles is in reach of some rows that are computed together, and not of others. */
const NOT_FINITE_SIZES: readonly Sizes[] = ([64, 128] as const).flatMap((headDim) => [
  {
    ...{ tokens: 500, qOffset: 128, qHeads: 2, kvHeads: 1, headDim, window: 300, takes: none },
    odd: [{ label: "mean values", tile: 1, value: NaN }],
  },
  {
    ...{ tokens: 300, qOffset: 512, qHeads: 4, kvHeads: 2, headDim, window: 450, takes: none },
    odd: [{ label: "mean values", tile: 2, value: NaN }],
  },
  {
    ...{ tokens: 300, qOffset: 512, qHeads: 4, kvHeads: 2, headDim, window: 450, takes: none },
    odd: [
      { label: "mean values", tile: 2, value: Infinity },
      { label: "mean values", tile: 4, value: -Infinity },
    ],
  },
  {
    ...{ tokens: 500, qOffset: 128, qHeads: 2, kvHeads: 1, headDim, window: 300, takes: none },
    odd: [{ label: "mean keys", tile: 1, value: NaN }],
  },
  // Tiles behind each other that some rows see as long as others do not, behind a gap of positions.
  {
    ...{ tokens: 260, qOffset: 1_152, qHeads: 2, kvHeads: 2, headDim, window: 900 },
    ...{ prefixTokens: 640, prefixGap: 256, takes: scattered(30) },
    odd: [5, 6, 7].map((tile) => ({ label: "mean values", tile, value: Infinity })),
  },
]);

function restCases(sizes: readonly Sizes[]): TwinCase[] {
  return sizes.map((one) => ({
    name: `${one.tokens} queries from ${one.qOffset}, ${one.qHeads}/${one.kvHeads} heads of ` +
      `${one.headDim}, ${one.outDtype ?? "f32"}, window ${one.window ?? 0}`,
    run: (bench) => runRest(bench, one),
  }));
}

const ALIASED: TwinCase = {
  name: "in place",
  run: async (bench) => {
    const sizes = { tokens: 300, qOffset: 256, qHeads: 4, kvHeads: 2, headDim: 64 } as const;
    await runRest(bench, { ...sizes, takes: scattered(50) }, true);
  },
};

twinTest("attentionRest()", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  cases: [...restCases(SIZES), ALIASED],
  gpu: { cases: restCases(GPU_SIZES), tolerance: GPU_ATTENTION },
});

twinTest("attentionRest() gives a value that is not finite to those who see it", {
  tolerance: { f32: F32_SUMS, bf16: BF16_STEP },
  gpu: { tolerance: GPU_ATTENTION },
  cases: restCases(NOT_FINITE_SIZES),
});

/** Where all tiles are chosen, bits of the partial attention come out. */
async function keepsPartial(bench: Bench): Promise<void> {
  const sizes = { tokens: 300, qOffset: 256, qHeads: 2, kvHeads: 1, headDim: 64 } as const;
  for (const outDtype of ["f32", "bf16"] as const) {
    const shared = { inputs: new Map(), random: new Random(3), isForGpu: bench.isForGpu };
    using own = new Bench(bench.device, shared);
    await runRest(own, { ...sizes, outDtype, takes: all, isEmpty: (row) => row === 7 });
    const [out, lse] = await own.collect();
    const partial = shared.inputs.get("partial");
    const partialLse = shared.inputs.get("partial lse");
    if (!(partial instanceof Float32Array) || !(partialLse instanceof Float32Array)) throw sizes;
    assertEquals(out?.bytes, new Uint8Array(floatsToElements(partial, outDtype)));
    assertEquals(lse?.bytes, new Uint8Array(floatsToElements(partialLse, "f32")));
  }
}

Deno.test("attentionRest() of rows without a rest gives the bits of what was there, rounded once", async () => {
  for (const instructionSet of await machineSets()) {
    await withCpu(async (device) => {
      using bench = new Bench(device, { inputs: new Map(), random: new Random(3) });
      await keepsPartial(bench);
    }, { instructionSet });
  }
});

Deno.test({
  name: "attentionRest() on a GPU of rows without a rest gives the bits of what was there",
  ignore: !HAS_GPU,
  fn: () =>
    withGpuBuilds(async (device) => {
      const shared = { inputs: new Map(), random: new Random(3), isForGpu: true };
      using bench = new Bench(device, shared);
      await keepsPartial(bench);
    }),
});

Deno.test("attentionRest() refuses means that are too few, or of another dtype", async () => {
  await withCpu(async (device) => {
    using bench = new Bench(device, { inputs: new Map(), random: new Random(4) });
    const q = await bench.queries("q", [130, 2, 64]);
    const cache = (dtype: DType) => bench.floats(`means ${dtype}`, [1, 3, 64], { dtype });
    const segment = async (dtype: DType, tokens: number) => {
      const tensor = await cache(dtype);
      return { keys: tensor, values: tensor, start: 0, tokens };
    };
    const out = await bench.output("out", "f32", q.shape);
    const lse = await bench.output("lse", "f32", [130, 2]);
    const counts = await bench.ints("counts", [2, 2], { low: 0, high: 1 });
    const indices = await bench.ints("indices", [2, 2, 4], { low: 0, high: 1 });
    const common = { out, partial: out, partialLse: lse, q, counts, indices, scale: 1 };
    const few = await segment("f32", 2);
    await assertRejects(
      () => attentionRest(device, { ...common, means: few, qOffset: 256 }),
      RangeError,
      "Cannot run attentionRest as 'means' must have the 3 tiles: current value is 2",
    );
    const narrow = await segment("bf16", 3);
    await assertRejects(
      () => attentionRest(device, { ...common, means: narrow, qOffset: 128 }),
      TypeError,
      "Cannot run attentionRest as 'means' must be f32: current value is [1, 3, 64] bf16",
    );
    await assertRejects(
      () => attentionRest(device, { ...common, means: few, qOffset: 100 }),
      RangeError,
      "Cannot run attentionRest as 'qOffset' must be a multiple of 128: current value is 100",
    );
  });
});

refusalTest("sx_attention_rest", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 2, 64]),
    outDtype: 0,
    lseLog2: scene.zeros("f32", [2, 2]),
    partial: scene.zeros("f32", [2, 2, 64]),
    partialLseLog2: scene.zeros("f32", [2, 2]),
    q: scene.zeros("f32", [2, 2, 64]),
    qDtype: 0,
    meanKeys: scene.zeros("f32", [1, 2, 64]),
    meanValues: scene.zeros("f32", [1, 2, 64]),
    meanDtype: 0,
    counts: scene.ints([1, 2]),
    indices: scene.ints([0, 9, 0, 1]),
    indexStride: 2,
    meanHeadStride: 128,
    qTokens: 2,
    qOffset: 128,
    qHeads: 2,
    kvHeads: 1,
    headDim: 64,
    window: 0,
    prefixTokens: 128,
    prefixGap: 0,
    scale: 1,
  },
  unchecked: ["lseLog2"],
  bf16OnGpu: ["qDtype", "meanDtype"],
  faults: [
    ["outDtype", 2],
    ["meanDtype", 1],
    ["qOffset", 127],
    ["prefixTokens", 1],
    ["kvHeads", 3],
    ["headDim", 96],
    ["scale", NaN],
  ],
}));
