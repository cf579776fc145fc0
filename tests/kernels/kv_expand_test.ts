/**
 * @module
 */
import { Tensor } from "../../lib/device/tensor.ts";
import { kvExpand } from "../../lib/ops/kv_expand.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { Random } from "../helpers/random.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { makeScaled } from "../helpers/scaled_keys.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { Bench, type TwinCase, twinTest } from "../helpers/twin.ts";

interface Sizes {
  readonly rows: number;
  readonly start: number;
  readonly tokens: number;
  readonly kvHeads: number;
  readonly headDim: 64 | 128;
}

const SIZES: readonly Sizes[] = [
  { rows: 4, start: 2, tokens: 0, kvHeads: 1, headDim: 64 },
  { rows: 1, start: 0, tokens: 1, kvHeads: 1, headDim: 64 },
  { rows: 70, start: 3, tokens: 65, kvHeads: 3, headDim: 128 },
  { rows: 600, start: 128, tokens: 300, kvHeads: 2, headDim: 64 },
];

/** Rows of all sizes, of zeros and of NaN. */
function makeRows(headDim: number): (count: number, random: Random) => Float32Array<ArrayBuffer> {
  return (count, random) => {
    const values = random.floats(count, 1);
    for (let row = 0; row < count / headDim; row++) {
      const own = values.subarray(row * headDim, (row + 1) * headDim);
      if (row % 7 === 3) own.fill(0);
      else if (row % 7 === 5) own.set([NaN]);
      else own.forEach((value, i) => own[i] = value * 2 ** (row % 60 - 30));
    }
    return values;
  };
}

twinTest("kvExpand()", {
  tolerance: { f32: EXACT, bf16: EXACT },
  cases: (["i8", "f8e4m3"] as const).flatMap((dtype) =>
    (["f32", "bf16"] as const).flatMap((outDtype) =>
      SIZES.map((sizes): TwinCase => {
        const { rows, start, tokens, kvHeads, headDim } = sizes;
        return {
          name: `${tokens} of ${rows} rows from ${start} on, ${kvHeads} heads of ${headDim}, ` +
            `${dtype} to ${outDtype}`,
          exact: true,
          run: async (bench) => {
            const make = makeRows(headDim);
            const cache = await makeScaled(bench, "in", { dtype, kvHeads, rows, headDim, make });
            const shape = [kvHeads, tokens + 2, headDim];
            await kvExpand(bench.device, {
              out: {
                keys: await bench.output("keys", outDtype, shape),
                values: await bench.output("values", outDtype, shape),
                start: 1,
              },
              segment: { ...cache, start, tokens },
            });
          },
        };
      })
    )
  ),
});

Deno.test("kvExpand() gives back what was stored, within half a step, and NaN for a faulty row", async () => {
  await withCpu(async (device) => {
    for (const dtype of ["i8", "f8e4m3"] as const) {
      using bench = new Bench(device, { inputs: new Map(), random: new Random(11) });
      const source = new Float32Array(3 * 64);
      source.set(new Random(12).floats(64, 1));
      source.set([Infinity], 128);
      const sizes = { dtype, kvHeads: 1, rows: 3, headDim: 64, make: () => source };
      const cache = await makeScaled(bench, "in", sizes);
      const out = bench.zeros("out", "f32", [1, 3, 64]);
      const other = bench.zeros("other", "f32", [1, 3, 64]);
      const segment = { ...cache, start: 0, tokens: 3 };
      await kvExpand(device, { out: { keys: out, values: other, start: 0 }, segment });
      const found = await out.toFloats();
      const most = Math.max(...source.subarray(0, 64).map(Math.abs));
      for (let d = 0; d < 64; d++) {
        const [value = NaN, near = NaN] = [source[d], found[d]];
        // Half of 1/127 of the largest; or half a step of three bits, or of the smallest ones.
        const step = dtype === "i8"
          ? most / 254
          : Math.max(Math.abs(value) / 16, most / 448 * 2 ** -10);
        assertEquals(Math.abs(value - near) <= step * 1.0001, true, `${dtype}: ${value}, ${near}`);
      }
      assertEquals(found.subarray(64, 128).every((value) => value === 0), true);
      assertEquals(found.subarray(128).every(Number.isNaN), true);
    }
  });
});

Deno.test("kvExpand() throws if the segment has floats or the rows no place", async () => {
  await withCpu(async (device) => {
    using owned = new DisposableStack();
    const make = (dtype: Tensor["dtype"], ...shape: number[]) =>
      owned.use(Tensor.allocate(device, { dtype, shape, label: "test" }));
    const pair = (dtype: Tensor["dtype"], rows: number, width: number) => ({
      keys: make(dtype, 1, rows, width),
      values: make(dtype, 1, rows, width),
    });
    const out = { ...pair("f32", 4, 64), start: 0 };
    await assertRejects(
      () => kvExpand(device, { out, segment: { ...pair("bf16", 4, 64), start: 0, tokens: 4 } }),
      RangeError,
      "'segment' must have 8 bits",
    );
    const codes = pair("i8", 4, 64);
    await assertRejects(
      () => kvExpand(device, { out, segment: { ...codes, start: 0, tokens: 4 } }),
      TypeError,
      "scales must be there if and only if keys have 8 bits",
    );
    const segment = { ...codes, scales: pair("f32", 4, 1), start: 0, tokens: 4 };
    await assertRejects(
      () => kvExpand(device, { out: { ...out, start: 1 }, segment }),
      RangeError,
      "'out.start' must be a whole number",
    );
    const short = { ...segment, scales: pair("f32", 3, 1) };
    await assertRejects(() => kvExpand(device, { out, segment: short }), RangeError, "its scales");
  });
});

refusalTest("sx_kv_expand", (scene) => ({
  params: {
    outKeys: scene.zeros("f32", [2, 3, 64]),
    outValues: scene.zeros("f32", [2, 3, 64]),
    outDtype: 0,
    keys: scene.zeros("i8", [2, 4, 64]),
    values: scene.zeros("i8", [2, 4, 64]),
    kvDtype: 4,
    keyScales: scene.zeros("f32", [2, 4]),
    valueScales: scene.zeros("f32", [2, 4]),
    tokens: 3,
    kvHeads: 2,
    headDim: 64,
    tokenStride: 64,
    headStride: 256,
    scaleHeadStride: 4,
    outTokenStride: 64,
    outHeadStride: 192,
  },
  faults: [["kvDtype", 0], ["outDtype", 4], ["outDtype", 2], ["headDim", 96], ["kvHeads", 0]],
}));
