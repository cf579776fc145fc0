/**
 * @module
 */
import type { Device } from "../../lib/device/device.ts";
import { E4M3_VALUES } from "../../lib/device/e4m3.ts";
import { Fp8Matrix } from "../../lib/device/fp8_matrix.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { quantizeRows } from "../../lib/ops/quantize_rows.ts";
import { assertEquals } from "../helpers/assert.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "../helpers/device.ts";
import { extremeRows } from "../helpers/extreme_rows.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SHAPES = [[1, 1], [0, 16], [3, 7], [12, 16], [23, 100], [11, 4_096], [5, 14_336], [
  2,
  20_000,
]];

twinTest("quantizeRows()", {
  tolerance: { f32: EXACT, f8e4m3: EXACT },
  cases: (["f32", "bf16", "f16"] as const).flatMap((dtype) =>
    SHAPES.flatMap(([rows = 0, dim = 0]) =>
      (rows === 0 ? [0] : [0, 3, 16]).map((gap): TwinCase => ({
        name: `${rows} rows of ${dim} ${dtype}, gap ${gap}`,
        run: async (bench) => {
          const wide = await bench.data("in", {
            dtype,
            shape: [rows, dim + gap],
            make: extremeRows(dim + gap),
          });
          await quantizeRows(bench.device, {
            out: new Fp8Matrix({
              codes: await bench.output("out", "f8e4m3", [rows, dim]),
              scales: await bench.output("scales", "f32", [rows]),
            }),
            in: wide.columns(gap, dim),
          });
        },
      }))
    )
  ),
});

/** Rounds one row whose largest number is 448, so that its scale is 1. */
async function codesOf(device: Device, values: readonly number[]): Promise<number[]> {
  const dim = values.length + 1;
  using owned = new DisposableStack();
  using source = Tensor.allocate(device, { dtype: "f32", shape: [1, dim], label: "in" });
  const out = Fp8Matrix.allocate(device, { shape: [1, dim], label: "out" }, owned);
  await source.writeFrom(Float32Array.of(...values, 448));
  await quantizeRows(device, { out, in: source });
  assertEquals([...await out.scales.toFloats()], [1]);
  return [...(await out.codes.toBytes()).subarray(0, values.length)];
}

/** All numbers of e4m3 that are finite, both zeros, and what lies halfway between neighbours. */
async function checkRounding(device: Device): Promise<void> {
  const finite = E4M3_VALUES.flatMap((value, code) => Number.isNaN(value) ? [] : [code]);
  const values = finite.map((code) => E4M3_VALUES[code] ?? NaN);
  assertEquals(finite.length, 254);
  assertEquals(await codesOf(device, values), finite, "numbers of e4m3 stay what they are");
  for (const sign of [1, -1]) {
    for (let code = 0; code < 0x7e; code++) {
      const [low = 0, high = 0] = [E4M3_VALUES[code], E4M3_VALUES[code + 1]];
      const middle = (low + high) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      const bit = sign < 0 ? 0x80 : 0;
      const near = [middle - middle * 2 ** -22, middle, middle + middle * 2 ** -22];
      assertEquals(
        await codesOf(device, near.map((value) => sign * value)),
        [code | bit, even | bit, code + 1 | bit],
        `between ${sign * low} and ${sign * high}`,
      );
    }
  }
  // The row's largest number may be above 448 in the last place after its multiplication.
  assertEquals(await codesOf(device, [448, -448]), [0x7e, 0xfe]);
}

Deno.test("quantizeRows() rounds to the nearest code, of two to the even one", async () => {
  for (const instructionSet of ["scalar", ...await machineSets()] as const) {
    await withCpu(checkRounding, { instructionSet });
  }
});

Deno.test({
  name: "quantizeRows() on a GPU rounds to the nearest code, of two to the even one",
  ignore: !HAS_GPU,
  fn: () => withGpuBuilds(checkRounding),
});

refusalTest("sx_quantize_rows", (scene) => ({
  params: {
    out: scene.zeros("f8e4m3", [2, 8]),
    scales: scene.zeros("f32", [2]),
    in: scene.zeros("f32", [2, 8]),
    inDtype: 0,
    rows: 2,
    dim: 8,
    inStride: 8,
  },
  faults: [["inDtype", 3], ["inDtype", 5], ["inStride", 7], ["dim", 0]],
}));
