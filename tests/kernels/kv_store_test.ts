/**
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { E4M3_VALUES } from "../../lib/device/e4m3.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { KernelError } from "../../lib/errors.ts";
import { kvStore } from "../../lib/ops/kv_store.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { extremeRows } from "../helpers/extreme_rows.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly tokens: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
  readonly inDtype: "f32" | "bf16";
}

const SIZES: readonly Sizes[] = [
  { tokens: 0, kvHeads: 1, headDim: 64, inDtype: "f32" },
  { tokens: 1, kvHeads: 3, headDim: 64, inDtype: "f32" },
  { tokens: 11, kvHeads: 2, headDim: 128, inDtype: "bf16" },
  { tokens: 300, kvHeads: 2, headDim: 64, inDtype: "f32" },
];

/** Every third token is not kept; the others go to rows in falling order. */
async function store(bench: Bench, sizes: Sizes & { dtype: "i8" | "f8e4m3" }): Promise<void> {
  const { tokens, kvHeads, headDim, inDtype, dtype } = sizes;
  const capacity = tokens + 7;
  const shape = [kvHeads, tokens, headDim];
  const floats = (label: string) =>
    bench.data(label, { dtype: inDtype, shape, make: extremeRows(headDim) });
  await kvStore(bench.device, {
    cache: {
      keys: await bench.output("keys", dtype, [kvHeads, capacity, headDim]),
      values: await bench.output("values", dtype, [kvHeads, capacity, headDim]),
      scales: {
        keys: await bench.output("scales of keys", "f32", [kvHeads, capacity, 1]),
        values: await bench.output("scales of values", "f32", [kvHeads, capacity, 1]),
      },
    },
    keys: await floats("in.keys"),
    values: await floats("in.values"),
    rows: await bench.data("rows", {
      dtype: "i32",
      shape: [tokens],
      make: (count) =>
        Int32Array.from({ length: count }, (_, t) => t % 3 === 2 ? -1 : capacity - 2 - t),
    }),
  });
}

twinTest("kvStore()", {
  tolerance: { f32: EXACT, f8e4m3: EXACT },
  cases: (["i8", "f8e4m3"] as const).flatMap((dtype) =>
    SIZES.map((sizes): TwinCase => ({
      name: `${sizes.tokens} tokens, ${sizes.kvHeads} heads of ${sizes.headDim} ` +
        `${sizes.inDtype} to ${dtype}`,
      exact: true,
      run: (bench) => store(bench, { ...sizes, dtype }),
    }))
  ),
});

/** Rounds one row of 64 numbers whose largest has the code `top`. */
async function codesOf(
  device: Device,
  options: { dtype: "i8" | "f8e4m3"; values: readonly number[] },
): Promise<{ codes: Uint8Array; scale: number }> {
  const { dtype, values } = options;
  using owned = new DisposableStack();
  const make = (kind: Tensor["dtype"], ...shape: number[]) =>
    owned.use(Tensor.allocate(device, { dtype: kind, shape, label: "test" }));
  const pair = (kind: Tensor["dtype"], width: number) => ({
    keys: make(kind, 1, 1, width),
    values: make(kind, 1, 1, width),
  });
  const from = pair("f32", 64);
  const row = new Float32Array(64);
  row.set(values);
  await from.keys.writeFrom(row);
  const cache = { ...pair(dtype, 64), scales: pair("f32", 1) };
  await kvStore(device, { cache, ...from, rows: make("i32", 1) });
  const [scale = NaN] = await cache.scales.keys.toFloats();
  return { codes: (await cache.keys.toBytes()).subarray(0, values.length), scale };
}

/** Numbers that are codes stay what they are; halfway between two whole numbers the even one is taken. */
async function checkRounding(device: Device): Promise<void> {
  const whole = [127, -127, 1, -1, 0, 63, 0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, 126.5];
  const rounded = [127, -127, 1, -1, 0, 63, 0, 2, 2, 0, -2, 2, 126];
  const ints = await codesOf(device, { dtype: "i8", values: whole });
  assertEquals(ints.scale, 1);
  assertEquals([...new Int8Array(ints.codes)], rounded, device.description);
  for (let first = 0; first < 256; first += 32) {
    const codes = Array.from({ length: 32 }, (_, i) => first + i)
      .filter((code) => Number.isFinite(E4M3_VALUES[code] ?? NaN));
    const values = [448, ...codes.map((code) => E4M3_VALUES[code] ?? NaN)];
    const found = await codesOf(device, { dtype: "f8e4m3", values });
    assertEquals(found.scale, 1);
    assertEquals([...found.codes], [0x7e, ...codes], device.description);
  }
}

Deno.test("kvStore() rounds to the nearest code, of two to the even one", async () => {
  for (const instructionSet of ["scalar", ...await machineSets()] as const) {
    await withCpu(checkRounding, { instructionSet });
  }
});

Deno.test({
  name: "kvStore() on a GPU rounds to the nearest code, of two to the even one",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds(checkRounding),
});

Deno.test("kvStore() throws if a row lies outside of the cache", async () => {
  await withCpu(async (device) => {
    using owned = new DisposableStack();
    const make = (dtype: Tensor["dtype"], ...shape: number[]) =>
      owned.use(Tensor.allocate(device, { dtype, shape, label: "test" }));
    const pair = (dtype: Tensor["dtype"], rows: number, width: number) => ({
      keys: make(dtype, 1, rows, width),
      values: make(dtype, 1, rows, width),
    });
    const cache = { ...pair("i8", 4, 64), scales: pair("f32", 4, 1) };
    const rows = make("i32", 1);
    for (const [row, error] of [[4, RangeError], [-2, RangeError]] as const) {
      await rows.writeFrom(Int32Array.of(row));
      await assertRejects(
        () => kvStore(device, { cache, ...pair("f32", 1, 64), rows }),
        error,
        "Cannot run kvStore as 'rows' must lie within -1 to 3",
      );
    }
    await rows.writeFrom(Int32Array.of(0));
    await assertRejects(
      () =>
        kvStore(device, {
          cache: { ...cache, ...pair("bf16", 4, 64) },
          ...pair("f32", 1, 64),
          rows,
        }),
      TypeError,
      "'cache.keys' must be i8 or f8e4m3",
    );
    const wrong = { ...pair("i8", 4, 96), scales: cache.scales };
    await assertRejects(
      () => kvStore(device, { cache: wrong, ...pair("f32", 1, 96), rows }),
      KernelError,
      "head_dim must be 64 or 128",
    );
  });
});

refusalTest("sx_kv_store", (scene) => ({
  params: {
    keys: scene.zeros("i8", [2, 4, 64]),
    values: scene.zeros("i8", [2, 4, 64]),
    kvDtype: 4,
    keyScales: scene.zeros("f32", [2, 4]),
    valueScales: scene.zeros("f32", [2, 4]),
    inKeys: scene.zeros("f32", [2, 3, 64]),
    inValues: scene.zeros("f32", [2, 3, 64]),
    inDtype: 0,
    rows: scene.ints([0, -1, 3]),
    tokens: 3,
    kvHeads: 2,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    scaleHeadStride: 4,
    inTokenStride: 64,
    inHeadStride: 192,
  },
  faults: [["kvDtype", 1], ["inDtype", 4], ["inDtype", 2], ["headDim", 96], ["kvHeads", 0]],
}));
