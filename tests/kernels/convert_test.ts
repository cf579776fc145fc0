/**
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import { convert, copy } from "../../lib/ops/convert.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const FLOATS = ["f32", "bf16", "f16"] as const;

/** Numbers at which rounding is decided: ties, overflow, subnormals, NaN, infinities. */
const EDGES = [
  0,
  -0,
  1,
  1 + 2 ** -8,
  1 + 3 * 2 ** -8,
  1 + 2 ** -8 + 2 ** -20,
  1 + 2 ** -11,
  1 + 3 * 2 ** -11,
  65_504,
  65_519.99,
  65_520,
  -65_520,
  1e6,
  3.39e38,
  -3.4e38,
  2 ** -14,
  2 ** -24,
  2 ** -25,
  3 * 2 ** -26,
  1.5 * 2 ** -25,
  1e-40,
  -1e-45,
  NaN,
  Infinity,
  -Infinity,
];

const pairs = FLOATS.flatMap((from) => FLOATS.map((to) => ({ from, to })));

twinTest("convert()", {
  tolerance: { f32: EXACT, bf16: EXACT, f16: EXACT },
  cases: pairs.flatMap(({ from, to }) =>
    [0, 1, 127, 100_003].map((count): TwinCase => ({
      name: `${count} ${from} to ${to}`,
      run: async (bench) =>
        await convert(bench.device, {
          out: await bench.output("out", to, [count]),
          in: await bench.data("in", {
            dtype: from,
            shape: [count],
            make: (size, random) => {
              const values = random.floats(size, 100);
              values.set(EDGES.slice(0, size));
              for (let i = EDGES.length; i < size; i++) {
                if (i % 3 === 0) values[i] = (values[i] ?? 0) * 2 ** -26;
              }
              return values;
            },
          }),
        }),
    }))
  ),
});

twinTest("copy()", {
  tolerance: { f32: EXACT, bf16: EXACT },
  cases: ([["f32", [1]], ["bf16", [127]], ["i32", [3, 129]], ["f32", [66_000, 5]]] as const).map((
    [dtype, shape],
  ): TwinCase => ({
    name: `[${shape.join(", ")}] ${dtype}`,
    run: async (bench) =>
      await copy(bench.device, {
        out: await bench.output("out", dtype, shape),
        in: dtype === "i32"
          ? await bench.ints("in", shape, { low: -9, high: 9 })
          : await bench.floats("in", shape, { dtype: dtype satisfies DType }),
      }),
  })),
});

twinTest("copy() of rows", {
  tolerance: { f32: EXACT },
  cases: [[5, 3], [127, 96], [1, 4]].map(([rows = 0, columns = 0]): TwinCase => ({
    name: `${rows} rows of ${columns}`,
    run: async (bench) => {
      const out = await bench.output("out", "f32", [rows, columns + 5]);
      const source = await bench.floats("in", [rows, columns + 2]);
      await copy(bench.device, { out: out.columns(3, columns), in: source.columns(1, columns) });
    },
  })),
});

refusalTest("sx_convert", (scene) => ({
  params: {
    out: scene.zeros("f32", [4]),
    in: scene.zeros("bf16", [4]),
    outDtype: 0,
    inDtype: 1,
    count: 4,
  },
  faults: [["outDtype", 3], ["inDtype", 3]],
}));

refusalTest("sx_copy", (scene) => ({
  params: {
    out: scene.zeros("f32", [4]),
    in: scene.zeros("f32", [4]),
    bytes: 8,
    rows: 2,
    outStride: 8,
    inStride: 8,
  },
  // No number of bytes and rows is wrong in itself.
  unchecked: ["bytes", "rows"],
  faults: [["outStride", 7], ["inStride", 7], ["rows", -1]],
}));
