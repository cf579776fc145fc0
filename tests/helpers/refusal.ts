/**
 * Tests that an op refuses arguments which are out of their range, and leaves its outputs alone.
 *
 * @module
 */
import { KernelError } from "../../lib/errors.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import type { OpArguments } from "../../lib/ffi/nonblocking.ts";
import { OP_SYMBOLS, type OpName } from "../../lib/ffi/symbols.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { machineSets, withCpu } from "./device.ts";

/** Wrong anywhere, or legal but without code here (dtypes). */
const REFUSALS: readonly string[] = ["SX_INVALID_ARGUMENT", "SX_UNSUPPORTED"];

/** A valid call, and what may be replaced in it. */
export interface ValidCall {
  /** What the op takes after its context. */
  readonly args: readonly (bigint | number)[];
  /** Places in `args` of pointers that may be null, and of numbers that may be anything. */
  readonly unchecked?: readonly number[];
  /** Further values that must be refused: place in `args` and value. */
  readonly faults?: readonly (readonly [number, bigint | number])[];
}

/** Makes the tensors of a refusal test; all are disposed of at its end. */
export class Scene implements Disposable {
  readonly #tensors: Tensor[] = [];
  readonly device: Device;

  constructor(device: Device) {
    this.device = device;
  }

  /** A zero-filled tensor: its address. */
  zeros(dtype: Tensor["dtype"], shape: readonly number[]): bigint {
    const tensor = Tensor.allocate(this.device, {
      dtype,
      shape,
      label: `t${this.#tensors.length}`,
    });
    this.#tensors.push(tensor);
    return tensor.address;
  }

  /** An i32 tensor of some values: its address. */
  ints(values: readonly number[]): bigint {
    const address = this.zeros("i32", [values.length]);
    this.#tensors.at(-1)?.hostInts().set(values);
    return address;
  }

  /** All bytes of all tensors. */
  bytes(): Uint8Array[] {
    return this.#tensors.map((tensor) => tensor.hostBytes().slice());
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#tensors) tensor[Symbol.dispose]();
  }
}

/**
 * Registers a test: null for each pointer, -1 for each size and stride, 99 for each dtype and flag.
 *
 * @param op The C name. @param valid A call that works; the outputs must change nothing else.
 */
export function refusalTest<K extends OpName>(op: K, valid: (scene: Scene) => ValidCall): void {
  Deno.test(`${op} refuses arguments out of range and leaves its outputs alone`, async () => {
    const sets = await machineSets();
    const instructionSet = sets.at(-1) ?? "auto";
    await withCpu(async (device) => {
      using scene = new Scene(device);
      const { args, unchecked = [], faults = [] } = valid(scene);
      const before = scene.bytes();
      const types: readonly string[] = OP_SYMBOLS[op].parameters.slice(1);
      const all = [
        ...types.flatMap((type, i) => unchecked.includes(i) ? [] : badValues(type, i)),
        ...faults,
      ];
      for (const [place, value] of all) {
        const changed = [...args];
        changed[place] = value;
        const call = { flops: 0, bytes: 0, shapes: () => `argument ${place + 1} = ${value}` };
        const error = await assertRejects(
          () => device.kernels.run(op, changed as unknown as OpArguments<K>, call),
          KernelError,
          `Cannot run ${op} with argument ${place + 1} = ${value} as it returned SX_`,
        );
        assertEquals(error.op, op);
        assert(REFUSALS.includes(error.status), error.message);
        assertEquals(scene.bytes(), before, `${op} must leave all memory alone: ${error.message}`);
      }
      await device.kernels.run(op, args as unknown as OpArguments<K>, {
        flops: 0,
        bytes: 0,
        shapes: () => "",
      });
    }, { instructionSet });
  });
}

function badValues(type: string, place: number): [number, bigint | number][] {
  if (type === "u64") return [[place, 0n]];
  if (type === "i64") return [[place, -1n]];
  if (type === "i32") return [[place, 99], [place, -1]];
  return [];
}
