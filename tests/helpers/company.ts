/**
 * Tests that an op computes the same bits for a row or a sequence whatever others the call has: on
 * every instruction set of this machine, with one and two threads, and on every build for its GPU.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import type { Device } from "../../lib/device/device.ts";
import { assertEquals } from "./assert.ts";
import { assertSameBytes } from "./compare.ts";
import { HAS_GPU, machineSets, openGpuBuilds } from "./device.ts";
import { Random, seedOf } from "./random.ts";
import { Bench } from "./twin.ts";

/** One op with inputs for `count` members. */
export interface Company {
  readonly name: string;
  readonly count: number;
  /** Computes the members `chosen` in one call, in this order. @returns The bytes of each. */
  readonly run: (bench: Bench, chosen: readonly number[]) => Promise<Uint8Array[]>;
}

/** The widths of batches that are compared; larger ones than a case has members are left out. */
const WIDTHS = [1, 2, 5, 8, 9, 16, 17, 33, 40, 64] as const;

/** Registers the tests of one op. @param name The op as the test's name begins. */
export function companyTest(name: string, cases: readonly Company[]): void {
  Deno.test(`${name} gives the same bits in any company`, async (t) => {
    for (const instructionSet of await machineSets()) {
      for (const threads of [1, 2]) {
        using device = await openCpuDevice({ threads, instructionSet });
        for (const company of cases) await step(t, { device, company, name });
        assertEquals(device.liveAllocations, 0);
      }
    }
  });
  Deno.test({
    name: `${name} on a GPU gives the same bits in any company`,
    ignore: !HAS_GPU,
    fn: async (t) => {
      using devices = new DisposableStack();
      for (const { device, build } of await openGpuBuilds(devices)) {
        for (const company of cases) await step(t, { device, company, name, build });
        assertEquals(device.liveAllocations, 0);
      }
    },
  });
}

async function step(
  t: Deno.TestContext,
  options: { device: Device; company: Company; name: string; build?: string },
): Promise<void> {
  const { device, company, name, build = "" } = options;
  const seed = seedOf(`${name} ${company.name}`);
  const where = `${device.description} ${build}`.trim();
  await t.step(`${company.name}, ${where}, seed ${seed}`, async () => {
    const inputs = new Map();
    const isForGpu = device.queryDtype === "bf16";
    const run = async (chosen: readonly number[]): Promise<Uint8Array[]> => {
      using bench = new Bench(device, { inputs, random: new Random(seed), isForGpu });
      return await company.run(bench, chosen);
    };
    const all = Array.from({ length: company.count }, (_, i) => i);
    const expected = await run(all);
    for (const chosen of choices(all)) {
      for (const [i, bytes] of (await run(chosen)).entries()) {
        assertSameBytes(bytes, {
          expected: expected[chosen[i] ?? -1] ?? new Uint8Array(),
          subject: {
            name: `member ${chosen[i]} as number ${i} of ${chosen.length}`,
            shape: [bytes.length],
          },
        });
      }
    }
  });
}

/** Some choices of each width: from the middle in order, and scattered from the last one on. */
function choices(all: readonly number[]): number[][] {
  return WIDTHS.filter((width) => width <= all.length).flatMap((width) => {
    const first = Math.floor((all.length - width) / 2);
    // The step is prime to every number of members of the tests, so that none comes twice.
    const scattered = all.slice(0, width).map((i) => (all.length - 1 + i * 37) % all.length);
    return [all.slice(first, first + width), scattered];
  });
}

/** The rows of a packed output as bytes, one after the other, `rows` of them. */
export function rowsOf(bytes: Uint8Array, rows: number): Uint8Array[] {
  const size = bytes.length / rows;
  return Array.from({ length: rows }, (_, i) => bytes.subarray(i * size, (i + 1) * size));
}

/** The values of chosen rows, `width` each, in a new array. */
export function pickRows<T extends Float32Array | Int32Array>(
  values: T,
  options: { chosen: readonly number[]; width: number },
): T {
  const { chosen, width } = options;
  const picked = values.slice(0, chosen.length * width) as T;
  chosen.forEach((row, i) =>
    picked.set(values.subarray(row * width, (row + 1) * width), i * width)
  );
  return picked;
}
