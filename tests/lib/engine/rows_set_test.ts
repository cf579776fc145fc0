/**
 * @module
 */
import { recordedRowsSet } from "../../../commands/shared/run_options.ts";
import { openCpuDevice, requestedSets } from "../../../lib/device/cpu.ts";
import { describeCpu } from "../../../lib/device/cpu_description.ts";
import type { Device } from "../../../lib/device/device.ts";
import { Tensor } from "../../../lib/device/tensor.ts";
import {
  chosen,
  confirmedChoice,
  forcedSet,
  measureRowsSet,
  rowsSetFor,
  timeSets,
} from "../../../lib/engine/rows_set.ts";
import { DeviceError } from "../../../lib/errors.ts";
import { ROWS_SETS, type RowsSetName } from "../../../lib/ffi/status.ts";
import { matmul } from "../../../lib/ops/matmul.ts";
import { matmulRows } from "../../../lib/ops/matmul_rows.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../../helpers/assert.ts";
import { machineSets } from "../../helpers/device.ts";
import { otherSet, withIsa } from "../../helpers/isa.ts";
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

Deno.test("confirmedChoice() asks again before it takes another set", async () => {
  const timings = (own: readonly [number, number], other: readonly [number, number]) => [
    { set: "avx512_bf16", ms: own },
    { set: "avx512", ms: other },
  ];
  const choose = async (...answers: readonly ReturnType<typeof timings>[]) => {
    let asked = 0;
    const choice = await confirmedChoice(() => Promise.resolve(answers[asked++] ?? []));
    return { ...choice, asked };
  };
  const clear = timings([2, 2], [3, 4]);
  const busy = timings([9, 9], [3, 4]);
  assertEquals(await choose(clear), { set: "own", timings: clear, asked: 1 });
  // The quiet moment of one set may be in the first measurement, that of the other in the second.
  assertEquals(await choose(busy, clear), { set: "own", timings: clear, asked: 2 });
  const mixed = await choose(timings([2, 9], [3, 4]), timings([9, 2], [9, 9]));
  assertEquals(mixed, { set: "own", timings: clear, asked: 2 });
  assertEquals((await choose(timings([3, 4], [2, 2]), timings([5, 5], [9, 9]))).set, "avx512");
});

Deno.test("timeSets() times one row and eight rows of each set", async () => {
  const { best } = await describeCpu();
  const timings = await timeSets([best, best], { threads: 1, outputs: 256 });
  assertEquals(timings.map(({ set }) => set), [best, best]);
  assert(timings.every(({ ms }) => ms.every((each) => each > 0 && Number.isFinite(each))));
});

Deno.test("rowsSetFor() goes by STARX_ISA, then the record, then what is measured", async () => {
  const options = { device: "cpu", threads: 1 } as const;
  await withIsa("avx512_bf16+avx512", async () => {
    assertEquals(await rowsSetFor({ ...options, recorded: "own" }), "avx512");
  });
  await withIsa("avx2", async () => {
    assertEquals(await rowsSetFor({ ...options, recorded: "avx512" }), "own");
  });
  await withIsa(undefined, async () => {
    for (const recorded of ["own" as const, ...await machineRowsSets()]) {
      assertEquals(await rowsSetFor({ ...options, recorded }), recorded);
    }
    assertEquals(await rowsSetFor({ ...options, device: "cuda", recorded: "avx512" }), "own");
    const { rows } = await describeCpu();
    const measured = await measureRowsSet({ threads: 1 });
    assertEquals(measured === undefined, rows.length === 0);
    const found = await rowsSetFor(options);
    assert(["own", ...rows].includes(found));
    // Whatever the machine does meanwhile, and with other threads.
    for (const threads of [1, 2, 1, 2]) {
      assertEquals(await rowsSetFor({ ...options, threads }), found);
    }
  });
});

/** The sets of this machine that may multiply rows. */
async function machineRowsSets(): Promise<RowsSetName[]> {
  const { instructionSets } = await describeCpu();
  return ROWS_SETS.filter((name) => instructionSets.includes(name));
}

Deno.test("rowsSetFor() names the record of a set that the machine lacks", async () => {
  const { instructionSets } = await describeCpu();
  const missing = ROWS_SETS.filter((name) => name !== "own" && !instructionSets.includes(name));
  for (const recorded of missing) {
    await withIsa(undefined, () =>
      assertRejects(
        () => rowsSetFor({ device: "cpu", threads: 1, recorded }),
        DeviceError,
        `Cannot continue the results as the machine and the library must have ${recorded}, which ` +
          "multiplied the rows of their decode steps (rows_set in run.json): current value is " +
          instructionSets.join(", "),
      ));
  }
});

Deno.test("forcedSet() is what STARX_ISA takes in place of the machine's own set", async () => {
  const [other, { best }] = [await otherSet(), await describeCpu()];
  for (
    const [value, expected] of [
      [other, other],
      [`${other}+${best}`, other],
      [best, undefined],
      [`${best}+${other}`, undefined],
      ["auto", undefined],
      [undefined, undefined],
    ] as const
  ) {
    await withIsa(value, async () => {
      assertEquals(await forcedSet("cpu"), expected, `${value}`);
      assertEquals(await forcedSet("cuda"), undefined);
    });
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

Deno.test("openCpuDevice() says who named a set that the machine lacks", async () => {
  const { instructionSets, best } = await describeCpu();
  const missing = ROWS_SETS.filter((name) => name !== "own" && !instructionSets.includes(name));
  const lacks = "Cannot open the CPU as the machine and the library must have";
  const found = `: current value is ${instructionSets.join(", ")}`;
  for (const rowsSet of missing) {
    const open = (isa: string | undefined) =>
      withIsa(isa, async () => (await openCpuDevice({ threads: 1, rowsSet }))[Symbol.dispose]());
    const byOption = `${lacks} ${rowsSet}, which 'rowsSet' names${found}`;
    await assertRejects(() => open(undefined), DeviceError, byOption);
    const byEnvironment = `${lacks} ${rowsSet}, which STARX_ISA names${found}`;
    for (const isa of [rowsSet, `${best}+${rowsSet}`]) {
      await assertRejects(() => open(isa), DeviceError, byEnvironment);
    }
    const named = () => openCpuDevice({ threads: 1, instructionSet: `${best}+${rowsSet}` });
    await assertRejects(named, DeviceError, `${lacks} ${rowsSet}${found}`);
  }
});
