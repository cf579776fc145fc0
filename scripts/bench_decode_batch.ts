/**
 * Times what a decode step of 1 to 64 sequences is made of at the 8B shape, and checks that the bits
 * of a row or a sequence are the same for every width:
 * `deno run -A scripts/bench_decode_batch.ts [--device=cpu] [--threads=2] [--repeats=9] [--small]`.
 *
 * Products: `matmul`, which prefill takes, beside `matmulRows`. Attention: as many calls of one
 * sequence as there are beside one call of all. GB/s counts the weights, or the keys and values, once.
 * `--small` has the 1B shape. Ends with 1 if bits differ.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { CaseTensors } from "../commands/bench/kernel_cases.ts";
import { median } from "../commands/bench/timings.ts";
import { openDevice } from "../lib/device/open.ts";
import { ProfiledDevice } from "../lib/device/profiled.ts";
import type { Tensor } from "../lib/device/tensor.ts";
import { attentionDecode } from "../lib/ops/attention_decode.ts";
import { copy } from "../lib/ops/convert.ts";
import { matmul } from "../lib/ops/matmul.ts";
import { matmulRows } from "../lib/ops/matmul_rows.ts";

const WIDTHS = [1, 2, 4, 8, 16, 32, 64] as const;
const WIDEST = 64;
/** Larger than any cache, which a copy of it clears. */
const FLUSH_BYTES = 2 ** 28;

/** A model's products as [name, n, k], its heads, and the lengths of its sequences. */
interface Shape {
  readonly products: readonly (readonly [string, number, number])[];
  readonly heads: { readonly qHeads: number; readonly kvHeads: number; readonly headDim: number };
  /** Sequences of so many keys, up to so many at once. */
  readonly lengths: readonly (readonly [number, number])[];
}

const SHAPE_8B: Shape = {
  products: [
    ["qkv", 6_144, 4_096],
    ["output", 4_096, 4_096],
    ["gate and up", 28_672, 4_096],
    ["down", 4_096, 14_336],
    ["head", 128_256, 4_096],
  ],
  heads: { qHeads: 32, kvHeads: 8, headDim: 128 },
  lengths: [[4_096, 64], [8_192, 64], [131_072, 2]],
};
const SHAPE_1B: Shape = {
  products: [
    ["qkv", 3_072, 2_048],
    ["output", 2_048, 2_048],
    ["gate and up", 16_384, 2_048],
    ["down", 2_048, 8_192],
    ["head", 128_256, 2_048],
  ],
  heads: { qHeads: 32, kvHeads: 8, headDim: 64 },
  lengths: [[512, 64], [4_096, 16]],
};

/** What all measurements share. */
interface Bench {
  readonly device: ProfiledDevice;
  readonly repeats: number;
  readonly flush: readonly [Tensor, Tensor];
}

/** Microseconds of what `run` starts, the caches being cleared before. */
async function timed(bench: Bench, run: () => Promise<void>): Promise<number> {
  const { device, repeats, flush: [from, to] } = bench;
  await run();
  const times: number[] = [];
  for (let i = 0; i < repeats; i++) {
    await copy(device, { out: to, in: from });
    // A GPU still copies when the ops are started, so that the host's way to them is not timed.
    if (device.stream === undefined) await device.kernels.idle();
    device.count({ marks: true });
    await run();
    times.push([...await device.costs()].reduce((sum, [, { ms }]) => sum + 1_000 * ms, 0));
  }
  return median(times);
}

function say(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

function print(
  name: string,
  options: { width: number; bytes: number; us: readonly number[] },
): void {
  const { width, bytes, us } = options;
  const cells = us.map((time) =>
    `${time.toFixed(1).padStart(9)} µs ${(bytes / time / 1e3).toFixed(0).padStart(6)} GB/s`
  );
  say(`${name.padEnd(22)} ${String(width).padStart(3)} ${cells.join("  ")}`);
}

/** Whether some rows of a wide result are those of a narrow one. */
async function sameRows(wide: Tensor, narrow: Tensor, first: number): Promise<boolean> {
  const count = narrow.shape[0] ?? 0;
  const expected = await wide.rows(first, count).toBytes();
  const found = await narrow.toBytes();
  return found.every((byte, i) => byte === expected[i]);
}

/** One product at every width. @returns How often bits differed. */
async function benchProduct(
  bench: Bench,
  [name, n, k]: Shape["products"][number],
): Promise<number> {
  const { device } = bench;
  using tensors = new CaseTensors(device);
  const all = await tensors.random("bf16", [WIDEST, k], 1);
  const weight = await tensors.random("bf16", [n, k]);
  const [expected, results] = [tensors.empty("f32", WIDEST, n), tensors.empty("f32", WIDEST, n)];
  await matmulRows(device, { out: expected, x: all, weight });
  let differing = 0;
  for (const width of WIDTHS) {
    const first = (WIDEST - width) >> 1;
    const [x, out] = [all.rows(first, width), results.rows(0, width)];
    const before = await timed(bench, () => matmul(device, { out, x, weight }));
    const now = await timed(bench, () => matmulRows(device, { out, x, weight }));
    print(name, { width, bytes: 2 * n * k, us: [before, now] });
    if (await sameRows(expected, out, first)) continue;
    say(`${name}: the bits of ${width} rows differ from those of ${WIDEST}`);
    differing++;
  }
  return differing;
}

/** Attention of a token of each sequence at every width. @returns How often bits differed. */
async function benchAttention(
  bench: Bench,
  options: { heads: Shape["heads"]; length: number; most: number },
): Promise<number> {
  const { device } = bench;
  const { heads: { qHeads, kvHeads, headDim }, length, most } = options;
  using tensors = new CaseTensors(device);
  // Lengths differ a little, so that splits and pages do not all end together.
  const counts = Int32Array.from({ length: most }, (_, i) => length - i % 7 * 9);
  const firsts = Int32Array.from({ length: most }, (_, i) => i * length);
  const keys = {
    keys: await tensors.random("bf16", [kvHeads, most * length, headDim], 1),
    values: await tensors.random("bf16", [kvHeads, most * length, headDim], 1),
    start: 0,
    tokens: most * length,
  };
  const every = await tensors.random(device.queryDtype, [most, qHeads, headDim], 1);
  const keyCount = tensors.empty("i32", most);
  await keyCount.writeFrom(counts);
  const firstRow = tensors.empty("i32", most);
  await firstRow.writeFrom(firsts);
  const expected = tensors.empty("f32", most, qHeads, headDim);
  const results = tensors.empty("f32", most, qHeads, headDim);
  const attend = (out: Tensor, first: number, count: number): Promise<void> =>
    attentionDecode(device, {
      ...{ out, keys, causal: true, scale: headDim ** -0.5, sequenceCapacity: length },
      q: every.rows(first, count),
      keyCount: keyCount.rows(first, count),
      firstRow: firstRow.rows(first, count),
    });
  await attend(expected, 0, most);
  let differing = 0;
  for (const width of WIDTHS.filter((width) => width <= most)) {
    const first = (most - width) >> 1;
    const out = results.rows(0, width);
    const apart = await timed(bench, async () => {
      for (let i = 0; i < width; i++) await attend(results.rows(i, 1), first + i, 1);
    });
    const now = await timed(bench, () => attend(out, first, width));
    const read = counts.subarray(first, first + width).reduce((sum, count) => sum + count, 0);
    const bytes = 4 * kvHeads * headDim * read;
    print(`attention, ${length} keys`, { width, bytes, us: [apart, now] });
    if (await sameRows(expected, out, first)) continue;
    say(`attention: the bits of ${width} sequences differ from those of ${most}`);
    differing++;
  }
  return differing;
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      device: { type: "string", default: "cuda" },
      threads: { type: "string", default: "2" },
      repeats: { type: "string", default: "9" },
      small: { type: "boolean", default: false },
    },
  });
  const kind = values.device === "cpu" ? "cpu" : "cuda";
  using device = new ProfiledDevice(await openDevice({ kind, threads: Number(values.threads) }));
  using tensors = new CaseTensors(device);
  const flush = [
    tensors.empty("f32", FLUSH_BYTES / 8),
    tensors.empty("f32", FLUSH_BYTES / 8),
  ] as const;
  const bench = { device, repeats: Number(values.repeats), flush };
  const shape = values.small ? SHAPE_1B : SHAPE_8B;
  say(`${device.description}\n${"".padEnd(22)} row ${"before or apart".padStart(24)}  now`);
  let differing = 0;
  for (const product of shape.products) differing += await benchProduct(bench, product);
  for (const [length, most] of shape.lengths) {
    differing += await benchAttention(bench, { heads: shape.heads, length, most });
  }
  say(differing === 0 ? "all bits equal" : `${differing} results differ`);
  return differing === 0 ? 0 : 1;
}

if (import.meta.main) Deno.exit(await main());
