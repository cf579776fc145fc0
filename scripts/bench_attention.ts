/**
 * Times attention on a GPU with each build of its kernels, and checks rows of every result against
 * a float64 reference: `deno run -A scripts/bench_attention.ts [--device=cpu] [--lengths=8192,...]
 * [--windows=4096,...] [--json_path=FILE]`, which gets a line of JSON for each case.
 *
 * Floating-point operations are 4 * head size for every pair of a query head's row and a key that it
 * reads: the causal half, or the visible pairs of the selected tiles. Tiles are tile 0, the diagonal
 * and others drawn uniformly for every head and row of tiles. Ends with 1 if a result is wrong.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openCpuDevice } from "../lib/device/cpu.ts";
import { openCudaDevice } from "../lib/device/cuda.ts";
import type { Device } from "../lib/device/device.ts";
import { Tensor } from "../lib/device/tensor.ts";
import { TILE_TOKENS } from "../lib/ffi/symbols.ts";
import { copy } from "../lib/ops/convert.ts";
import { attentionBlockSparse } from "../lib/ops/attention_block_sparse.ts";
import { attentionDense } from "../lib/ops/attention_dense.ts";
import { normalNumber, uniformNumbers } from "../lib/random.ts";

/** What `sx_context_create` reads: the build of attention. */
const BUILD_VARIABLE = "STARX_CUDA_KERNELS";
const BUILDS = ["generic", "hopper"] as const;

/**
 * One case: the newest `queries` of `tokens` tokens, the first `prefix` of them in a segment; each query
 * sees the last `window` tokens, its own included, or all (0).
 */
interface Shape {
  readonly tokens: number;
  readonly queries: number;
  readonly prefix: number;
  readonly qHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly window?: number;
}

/** The heads of an 8B Llama. */
const LLAMA = { qHeads: 32, kvHeads: 8, headDim: 128 };
const DENSITIES = [0.1, 0.25];
/** Cases that are only checked: tails, two segments, the small head. */
const ODD_SHAPES: readonly Shape[] = [
  { tokens: 1, queries: 1, prefix: 0, qHeads: 2, kvHeads: 1, headDim: 128 },
  { tokens: 129, queries: 129, prefix: 0, qHeads: 4, kvHeads: 2, headDim: 64 },
  { tokens: 1133, queries: 130, prefix: 200, qHeads: 4, kvHeads: 1, headDim: 128 },
  { tokens: 1664, queries: 640, prefix: 512, qHeads: 4, kvHeads: 2, headDim: 128 },
  { tokens: 1000, queries: 232, prefix: 128, qHeads: 2, kvHeads: 2, headDim: 64 },
  { tokens: 1500, queries: 700, prefix: 0, qHeads: 4, kvHeads: 2, headDim: 128, window: 300 },
  { tokens: 1000, queries: 1000, prefix: 200, qHeads: 3, kvHeads: 1, headDim: 64, window: 50 },
];
/** Of two heads together. */
const CHECKED_ROWS = 6;
/** bf16 keeps 8 bits: weights and results are off by 2^-9 each. */
const LARGEST_ERROR = 8e-3;
/** Log-sum-exps are sums of f32. */
const LARGEST_LSE_ERROR = 1e-3;
const POOL = 2 ** 20 + 24;
const BATCHES = 3;

/** Tensors of a case, disposed of together. */
interface Inputs extends Disposable {
  readonly shape: Shape;
  readonly q: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor;
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** The selected tiles of every head and row of tiles. */
interface Choice extends Disposable {
  readonly counts: Tensor;
  readonly indices: Tensor;
  /** Pairs of a row and a key that is read, all heads. */
  readonly pairs: number;
  /** The list of a head's row of tiles. */
  readonly list: (head: number, tile: number) => readonly number[];
}

/** Fills a tensor with normal numbers: a pool that does not repeat with the rows, over and over. */
async function fill(tensor: Tensor, seed: number): Promise<Tensor> {
  const random = uniformNumbers(seed);
  const flat = tensor.reshape([tensor.size]);
  let filled = Math.min(POOL, tensor.size);
  await flat.rows(0, filled).writeFrom(
    Float32Array.from({ length: filled }, () => normalNumber(random)),
  );
  while (filled < tensor.size) {
    const count = Math.min(filled, tensor.size - filled);
    await copy(tensor.device, { out: flat.rows(filled, count), in: flat.rows(0, count) });
    filled += count;
  }
  return tensor;
}

async function makeInputs(device: Device, shape: Shape): Promise<Inputs> {
  const { tokens, queries, qHeads, kvHeads, headDim } = shape;
  using owned = new DisposableStack();
  const make = (dtype: "f32" | "bf16", ...sizes: number[]) =>
    owned.use(Tensor.allocate(device, { dtype, shape: sizes, label: "bench" }));
  const { queryDtype } = device;
  const q = await fill(make(queryDtype, queries, qHeads, headDim), 1);
  const keys = await fill(make("bf16", kvHeads, tokens, headDim), 2);
  const values = await fill(make("bf16", kvHeads, tokens, headDim), 3);
  const out = make("bf16", queries, qHeads, headDim);
  const lse = make("f32", queries, qHeads);
  const rest = owned.move();
  return { shape, q, keys, values, out, lse, [Symbol.dispose]: () => rest.dispose() };
}

/** What the ops take of a case. */
function attentionArguments({ shape, q, out, lse, keys, values }: Inputs) {
  const { tokens, queries, prefix, headDim, window = 0 } = shape;
  return {
    q,
    out,
    lse,
    keys: { keys, values, start: prefix, tokens: tokens - prefix },
    prefix: { keys, values, start: 0, tokens: prefix },
    qOffset: tokens - queries,
    scale: 1 / Math.sqrt(headDim),
    window,
  };
}

/** Pairs of a row and a key that it sees, all heads. */
function visiblePairs({ tokens, queries, qHeads, window = 0 }: Shape): number {
  const reach = window === 0 ? tokens : window;
  let pairs = 0;
  for (let place = tokens - queries; place < tokens; place++) pairs += Math.min(reach, place + 1);
  return qHeads * pairs;
}

/** Draws tiles: `density` of the causal ones of each row, ascending. */
async function choose(device: Device, shape: Shape, density: number): Promise<Choice> {
  const random = uniformNumbers(4);
  const { tokens, queries, qHeads } = shape;
  const first = (tokens - queries) / TILE_TOKENS;
  const tiles = Math.ceil(queries / TILE_TOKENS);
  const countOf = (tile: number): number =>
    Math.max(Math.min(2, tile + 1), Math.round(density * (tile + 1)));
  const stride = countOf(first + tiles - 1);
  const counts = new Int32Array(qHeads * tiles);
  const indices = new Int32Array(qHeads * tiles * stride);
  let pairs = 0;
  for (let row = 0; row < counts.length; row++) {
    const last = first + row % tiles;
    const count = countOf(last);
    const rows = Math.min(TILE_TOKENS, tokens - last * TILE_TOKENS);
    pairs += (count - 1) * TILE_TOKENS * rows + rows * (rows + 1) / 2;
    let at = row * stride;
    let wanted = count;
    for (let tile = 0; tile <= last; tile++) {
      const isFixed = tile === 0 || tile === last;
      // Of those in between, each as likely as the next.
      const left = last - tile;
      if (!isFixed && random() * left >= wanted - 1) continue;
      indices[at++] = tile;
      wanted--;
    }
    counts[row] = count;
  }
  const make = async (data: Int32Array, ...sizes: number[]): Promise<Tensor> => {
    const tensor = Tensor.allocate(device, { dtype: "i32", shape: sizes, label: "tiles" });
    await tensor.writeFrom(data);
    return tensor;
  };
  const tensors = {
    counts: await make(counts, qHeads, tiles),
    indices: await make(indices, qHeads, tiles, stride),
  };
  const list = (head: number, tile: number): readonly number[] => {
    const row = head * tiles + tile;
    return [...indices.subarray(row * stride, row * stride + (counts[row] ?? 0))];
  };
  const dispose = (): void => Object.values(tensors).forEach((tensor) => tensor[Symbol.dispose]());
  return { ...tensors, pairs, list, [Symbol.dispose]: dispose };
}

/** One row of attention in float64. */
function exactRow(
  row: { q: Float32Array; keys: Float32Array; values: Float32Array },
  options: { visible: number; first: number; scale: number; tiles?: readonly number[] | undefined },
): { out: Float64Array; lse: number } {
  const { q, keys, values } = row;
  const { visible, first, scale, tiles } = options;
  const dim = q.length;
  const ranges = tiles?.map((tile) => [tile * TILE_TOKENS, (tile + 1) * TILE_TOKENS] as const) ??
    [[first, visible] as const];
  const logits = new Float64Array(visible).fill(-Infinity);
  for (const [begin, end] of ranges) {
    for (let key = begin; key < Math.min(end, visible); key++) {
      let sum = 0;
      for (let d = 0; d < dim; d++) sum += (q[d] ?? NaN) * (keys[key * dim + d] ?? NaN);
      logits[key] = sum * scale;
    }
  }
  const largest = logits.reduce((max, logit) => Math.max(max, logit), -Infinity);
  const out = new Float64Array(dim);
  let total = 0;
  for (let key = 0; key < visible; key++) {
    const weight = Math.exp((logits[key] ?? NaN) - largest);
    if (weight === 0) continue;
    total += weight;
    for (let d = 0; d < dim; d++) out[d] = (out[d] ?? 0) + weight * (values[key * dim + d] ?? NaN);
  }
  return { out: out.map((sum) => sum / total), lse: (largest + Math.log(total)) / Math.LN2 };
}

/** How far some rows of two heads are off; NaN if anything is NaN. */
interface RowErrors {
  /** Of the outputs, relative to the rows' norm. */
  readonly out: number;
  /** The largest of the log-sum-exps. */
  readonly lse: number;
}

async function errorsOf(inputs: Inputs, choice?: Choice): Promise<RowErrors> {
  const { shape, q, out, lse, keys, values } = inputs;
  const { tokens, queries, qHeads, kvHeads, headDim, window = 0 } = shape;
  const random = uniformNumbers(5);
  let [faults, norm, lseError] = [0, 0, 0];
  for (const head of new Set([0, qHeads - 1])) {
    const kvHead = Math.floor(head / (qHeads / kvHeads));
    const [k, v] = await Promise.all(
      [keys, values].map((tensor) => tensor.rows(kvHead, 1).toFloats()),
    );
    if (k === undefined || v === undefined) throw new TypeError("two tensors were read");
    for (let i = 0; i < CHECKED_ROWS / 2; i++) {
      const t = i === 0 ? queries - 1 : Math.floor(random() * queries);
      const part = (all: Float32Array, width: number) =>
        all.subarray(head * width, (head + 1) * width);
      const query = part(await q.rows(t, 1).toFloats(), headDim);
      const found = part(await out.rows(t, 1).toFloats(), headDim);
      const [foundLse = NaN] = part(await lse.rows(t, 1).toFloats(), 1);
      const exact = exactRow({ q: query, keys: k, values: v }, {
        visible: tokens - queries + t + 1,
        first: window === 0 ? 0 : Math.max(0, tokens - queries + t + 1 - window),
        scale: 1 / Math.sqrt(headDim),
        tiles: choice?.list(head, Math.floor(t / TILE_TOKENS)),
      });
      exact.out.forEach((value, d) => {
        faults += ((found[d] ?? NaN) - value) ** 2;
        norm += value ** 2;
      });
      lseError = Math.max(lseError, Math.abs(foundLse - exact.lse));
    }
  }
  return { out: Math.sqrt(faults / norm), lse: lseError };
}

/** Milliseconds of a run: the median of batches long enough for the clock. */
async function timeRuns(device: Device, run: () => Promise<void>): Promise<number> {
  const batch = async (runs: number): Promise<number> => {
    const startMs = performance.now();
    for (let i = 0; i < runs; i++) await run();
    await device.kernels.idle();
    return (performance.now() - startMs) / runs;
  };
  await batch(1);
  const runs = Math.max(1, Math.min(50, Math.round(50 / await batch(1))));
  const times: number[] = [];
  for (let i = 0; i < BATCHES; i++) times.push(await batch(runs));
  return times.sort((a, b) => a - b)[Math.floor(BATCHES / 2)] ?? NaN;
}

/** Which kernels are run, and who is told. */
interface Run {
  readonly build: string;
  readonly device: Device;
  readonly lengths: readonly number[];
  readonly windows: readonly number[];
  /** A file to which a line of JSON is added for each case. */
  readonly jsonPath: string | undefined;
}

/** Runs a case, prints its line. @returns Whether the result is right. */
async function runCase(
  { build, device, jsonPath }: Run,
  options: { shape: Shape; density: number | undefined; timed: boolean },
): Promise<boolean> {
  const { shape, density, timed } = options;
  const { tokens, queries, qHeads, headDim, window = 0 } = shape;
  using inputs = await makeInputs(device, shape);
  using choice = density === undefined ? undefined : await choose(device, shape, density);
  const args = attentionArguments(inputs);
  const run = choice === undefined
    ? () => attentionDense(device, args)
    : () => attentionBlockSparse(device, { ...args, ...choice });
  await run();
  const errors = await errorsOf(inputs, choice);
  const isRight = errors.out < LARGEST_ERROR && errors.lse < LARGEST_LSE_ERROR;
  const pairs = choice?.pairs ?? visiblePairs(shape);
  const kind = window > 0
    ? `window ${window}`
    : density === undefined
    ? "dense"
    : `sparse ${density * 100} %`;
  let line = `${build} ${kind} ${queries} of ${tokens}, ${qHeads}/${shape.kvHeads} x ${headDim}: ` +
    `error ${errors.out.toExponential(1)}, of lse ${errors.lse.toExponential(1)}` +
    (isRight ? "" : " WRONG");
  const times: { ms?: number; tflops?: number } = {};
  if (timed) {
    const ms = await timeRuns(device, run);
    const tflops = 4 * headDim * pairs / ms / 1e9;
    line += `, ${ms.toFixed(3)} ms, ${tflops.toFixed(1)} TFLOP/s`;
    times.ms = Number(ms.toFixed(3));
    times.tflops = Number(tflops.toFixed(1));
  }
  if (jsonPath !== undefined) {
    const sizes = { query_heads: qHeads, kv_heads: shape.kvHeads, head_dim: headDim };
    const record = {
      ...{ build, density: density ?? 1, window, queries, tokens, ...sizes },
      ...{ error: errors.out, lse_error: errors.lse, ...times },
    };
    await Deno.writeTextFile(jsonPath, `${JSON.stringify(record)}\n`, { append: true });
  }
  await Deno.stdout.write(new TextEncoder().encode(`${line}\n`));
  return isRight;
}

/** Checks the odd shapes, then times the long ones. @returns Whether all results are right. */
async function runBuild(run: Run): Promise<boolean> {
  let areRight = true;
  for (const shape of ODD_SHAPES) {
    const isWhole = (shape.tokens - shape.queries) % TILE_TOKENS === 0 &&
      shape.prefix % TILE_TOKENS === 0 && shape.window === undefined;
    for (const density of isWhole ? [undefined, 0.4] : [undefined]) {
      const isRight = await runCase(run, { shape, density, timed: false });
      areRight &&= isRight;
    }
  }
  for (const tokens of run.lengths) {
    const shape = { ...LLAMA, tokens, queries: tokens, prefix: 0 };
    for (const density of [undefined, ...DENSITIES]) {
      const isRight = await runCase(run, { shape, density, timed: true });
      areRight &&= isRight;
    }
    for (const window of run.windows.filter((window) => window < tokens)) {
      const isRight = await runCase(run, {
        shape: { ...shape, window },
        density: undefined,
        timed: true,
      });
      areRight &&= isRight;
    }
  }
  return areRight;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      device: { type: "string", default: "cuda" },
      lengths: { type: "string", default: "8192,32768,131072" },
      windows: { type: "string", default: "4096" },
      json_path: { type: "string" },
    },
  });
  const numbers = (list: string) => list.split(",").map(Number).filter((number) => number > 0);
  const [lengths, windows] = [numbers(values.lengths), numbers(values.windows)];
  const base = { lengths, windows, jsonPath: values.json_path };
  if (values.device === "cpu") {
    using device = await openCpuDevice({ threads: 2 });
    return await runBuild({ ...base, build: "cpu", device }) ? 0 : 1;
  }
  let areRight = true;
  for (const build of BUILDS) {
    Deno.env.set(BUILD_VARIABLE, build);
    using device = await openCudaDevice();
    const isRight = await runBuild({ ...base, build, device });
    areRight &&= isRight;
  }
  return areRight ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
