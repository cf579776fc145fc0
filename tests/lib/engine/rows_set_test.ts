/**
 * @module
 */
import { recordedRowsSet } from "../../../commands/shared/run_options.ts";
import { openCpuDevice, requestedSets } from "../../../lib/device/cpu.ts";
import { describeCpu } from "../../../lib/device/cpu_description.ts";
import type { Device } from "../../../lib/device/device.ts";
import { Tensor } from "../../../lib/device/tensor.ts";
import { chosen, measureRowsSet, rowsSetFor, timeSets } from "../../../lib/engine/rows_set.ts";
import { DeviceError } from "../../../lib/errors.ts";
import { matmul } from "../../../lib/ops/matmul.ts";
import { matmulRows } from "../../../lib/ops/matmul_rows.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../../helpers/assert.ts";
import { machineSets } from "../../helpers/device.ts";
import { Random } from "../../helpers/random.ts";

Deno.test("chosen() takes another set only if it is faster by a clear margin", () => {
  const own = { set: "avx512_bf16", ms: [1.6, 1.6] } as const;
  const other = (one: number, eight: number) => ({ set: "avx512", ms: [one, eight] } as const);
  assertEquals(chosen([own]).set, "own");
  assertEquals(chosen([own, other(1.36, 1.6)]).set, "avx512");
  assertEquals(chosen([own, other(1.5, 1.6)]).set, "own");
  // What one row gains, eight rows may lose.
  assertEquals(chosen([own, other(1.3, 2.4)]).set, "own");
  assertEquals(chosen([other(1.3, 1.3), own]).set, "own");
  assertThrows(() => chosen([]), RangeError, "there must be one");
});

Deno.test("timeSets() times one row and eight rows of each set", async () => {
  const { best } = await describeCpu();
  const timings = await timeSets([best, best], { threads: 1, outputs: 256 });
  assertEquals(timings.map(({ set }) => set), [best, best]);
  assert(timings.every(({ ms }) => ms.every((each) => each > 0 && Number.isFinite(each))));
});

Deno.test("rowsSetFor() goes by STARX_ISA, then the record, then what is measured", async () => {
  const options = { device: "cpu", threads: 1 } as const;
  const before = Deno.env.get("STARX_ISA");
  try {
    Deno.env.set("STARX_ISA", "avx512_bf16+avx512");
    assertEquals(await rowsSetFor({ ...options, recorded: "own" }), "avx512");
    Deno.env.set("STARX_ISA", "avx2");
    assertEquals(await rowsSetFor({ ...options, recorded: "avx512" }), "own");
    Deno.env.delete("STARX_ISA");
    assertEquals(await rowsSetFor({ ...options, recorded: "avx512" }), "avx512");
    assertEquals(await rowsSetFor({ ...options, device: "cuda", recorded: "avx512" }), "own");
    const { rows } = await describeCpu();
    const measured = await measureRowsSet({ threads: 1 });
    assertEquals(measured === undefined, rows.length === 0);
    assert(["own", ...rows].includes(await rowsSetFor(options)));
  } finally {
    if (before === undefined) Deno.env.delete("STARX_ISA");
    else Deno.env.set("STARX_ISA", before);
  }
});

Deno.test("recordedRowsSet() knows runs from before there was a choice", () => {
  assertEquals(recordedRowsSet({ options: { rows_set: "avx512" } }), "avx512");
  assertEquals(recordedRowsSet({ options: { device: "cpu" } }), "own");
  assertEquals(recordedRowsSet(undefined), "own");
});

Deno.test("requestedSets() refuses what is no set or no pair of sets", () => {
  assertEquals(requestedSets("avx2"), { base: "avx2", rows: "avx2" });
  assertEquals(requestedSets("avx512_bf16+avx512"), { base: "avx512_bf16", rows: "avx512" });
  for (const wrong of ["avx3", "avx2+", "+avx2", "auto+avx2", "avx2+auto", "avx2+avx2+avx2"]) {
    assertThrows(() => requestedSets(wrong), DeviceError, JSON.stringify(wrong));
  }
});

/** A product of 3 rows by the op of decode steps, and by the one of many rows. */
async function products(device: Device): Promise<{ rows: Uint8Array; many: Uint8Array }> {
  const random = new Random(7);
  using owned = new DisposableStack();
  const tensor = (dtype: "f32" | "bf16", shape: readonly number[]) =>
    owned.use(Tensor.allocate(device, { dtype, shape, label: "of the test" }));
  const x = tensor("bf16", [3, 333]);
  await x.writeFrom(random.floats(x.size, 1));
  const weight = tensor("bf16", [61, 333]);
  await weight.writeFrom(random.floats(weight.size, 1));
  const [rows, many] = [tensor("f32", [3, 61]), tensor("f32", [3, 61])];
  await matmulRows(device, { out: rows, x, weight });
  await matmul(device, { out: many, x, weight });
  return { rows: rows.hostBytes().slice(), many: many.hostBytes().slice() };
}

const SETS = await machineSets();

Deno.test({
  name: "a CPU of two sets multiplies rows by the second one and all else by the first",
  ignore: SETS.length < 2,
  fn: async () => {
    const found: { rows: Uint8Array; many: Uint8Array }[] = [];
    const [first = "", last = ""] = [SETS.at(0), SETS.at(-1)];
    for (const instructionSet of [last, first, `${last}+${first}`]) {
      using device = await openCpuDevice({ threads: 2, instructionSet });
      assert(device.description.includes(` ${instructionSet},`), device.description);
      found.push(await products(device));
    }
    const [own, other, mixed] = found;
    assertEquals(mixed?.rows, other?.rows);
    assertEquals(mixed?.many, own?.many);
    assert(String(own?.rows) !== String(other?.rows), "the two add in different orders");
  },
});

Deno.test("a recorded set that the machine lacks is refused", async () => {
  const { instructionSets } = await describeCpu();
  if (instructionSets.includes("amx_bf16") || Deno.env.has("STARX_ISA")) return;
  await assertRejects(
    () => openCpuDevice({ threads: 1, rowsSet: "amx_bf16" }),
    DeviceError,
    "the machine and the library must have amx_bf16",
  );
});
