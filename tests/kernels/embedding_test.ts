/**
 * @module
 */
import { embedding } from "../../lib/ops/embedding.ts";
import { KernelError } from "../../lib/errors.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";
import { refusalTest } from "../helpers/refusal.ts";
import { EXACT } from "../helpers/tolerances.ts";
import { type TwinCase, twinTest } from "../helpers/twin.ts";

const SIZES: readonly {
  tokens: number;
  dim: number;
  vocabulary: number;
  dtype: "f32" | "bf16";
  scale?: number;
}[] = [
  { tokens: 1, dim: 1, vocabulary: 1, dtype: "f32" },
  { tokens: 0, dim: 64, vocabulary: 10, dtype: "f32" },
  { tokens: 127, dim: 67, vocabulary: 50, dtype: "bf16" },
  { tokens: 129, dim: 576, vocabulary: 300, dtype: "f32" },
  { tokens: 128, dim: 256, vocabulary: 300, dtype: "bf16" },
  { tokens: 30, dim: 259, vocabulary: 300, dtype: "f32", scale: 12 },
  { tokens: 30, dim: 256, vocabulary: 300, dtype: "bf16", scale: -0.375 },
  { tokens: 66_000, dim: 9, vocabulary: 70_000, dtype: "bf16" },
];

twinTest("embedding()", {
  tolerance: { f32: EXACT },
  cases: SIZES.map(({ tokens, dim, vocabulary, dtype, scale }): TwinCase => ({
    name: `${tokens} tokens of ${dim}, ${dtype}`,
    run: async (bench) =>
      await embedding(bench.device, {
        out: await bench.output("out", "f32", [tokens, dim]),
        table: await bench.floats("table", [vocabulary, dim], { dtype }),
        ids: await bench.ints("ids", [tokens], { low: 0, high: vocabulary }),
        ...(scale === undefined ? {} : { scale }),
      }),
  })),
});

Deno.test("embedding() throws if an id is out of range, and leaves its output alone", async () => {
  await withCpu(async (device) => {
    using out = Tensor.allocate(device, { dtype: "f32", shape: [2, 4], label: "out" });
    using table = Tensor.allocate(device, { dtype: "f32", shape: [3, 4], label: "table" });
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [2], label: "ids" });
    await out.writeFrom(new Float32Array(8).fill(7));
    for (const id of [3, -1, -(2 ** 31), 2 ** 31 - 1]) {
      await ids.writeFrom(Int32Array.of(0, id));
      const error = await assertRejects(
        () => embedding(device, { out, table, ids }),
        KernelError,
        "Cannot run sx_embedding with out [2, 4] f32, table [3, 4] f32, ids [2] i32 as it returned",
      );
      assertEquals(error.status, "SX_INVALID_ARGUMENT");
      assertEquals(await out.toFloats(), new Float32Array(8).fill(7));
    }
  });
});

refusalTest("sx_embedding", (scene) => ({
  params: {
    out: scene.zeros("f32", [2, 4]),
    table: scene.zeros("f32", [3, 4]),
    ids: scene.ints([1, 2]),
    tableDtype: 0,
    tokens: 2,
    dim: 4,
    vocab: 3,
    scale: 1,
  },
  faults: [["tableDtype", 2], ["tableDtype", 3], ["scale", NaN]],
}));
