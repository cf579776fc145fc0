/**
 * Tests that an op refuses arguments which are out of their range, and leaves its outputs alone.
 *
 * @module
 */
import { KernelError } from "../../lib/errors.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import type { OpArguments } from "../../lib/ffi/nonblocking.ts";
import { DTYPE_CODES } from "../../lib/ffi/status.ts";
import { OP_SYMBOLS, type OpName } from "../../lib/ffi/symbols.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "./device.ts";

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
  /** Places of pointers that may be null for all that the host of a GPU can know. */
  readonly uncheckedOnGpu?: readonly number[];
  /** Places of the dtypes of queries, keys and values: f32 on a CPU, bf16 on a GPU. */
  readonly bf16OnGpu?: readonly number[];
}

/** `SX_BF16`. */
const BF16 = DTYPE_CODES.bf16;

/** Makes the tensors of a refusal test; all are disposed of at its end. */
export class Scene implements Disposable {
  readonly #tensors: Tensor[] = [];
  readonly #writes: Promise<void>[] = [];
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
    const tensor = this.#tensors.at(-1);
    assert(tensor !== undefined);
    this.#writes.push(tensor.writeFrom(Int32Array.from(values)));
    return address;
  }

  /** All bytes of all tensors. */
  async bytes(): Promise<Uint8Array[]> {
    await Promise.all(this.#writes);
    return await Promise.all(this.#tensors.map(async (tensor) => (await tensor.toBytes()).slice()));
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
  const rule = "refuses arguments out of range and leaves its outputs alone";
  Deno.test(`${op} ${rule}`, async () => {
    const sets = await machineSets();
    const instructionSet = sets.at(-1) ?? "auto";
    await withCpu((device) => refuseAll(op, { device, valid }), { instructionSet });
  });
  Deno.test({
    name: `${op} on a GPU ${rule}`,
    ignore: !HAS_GPU,
    fn: () => withGpuBuilds((device) => refuseAll(op, { device, valid })),
  });
}

async function refuseAll<K extends OpName>(
  op: K,
  options: { device: Device; valid: (scene: Scene) => ValidCall },
): Promise<void> {
  const { device, valid } = options;
  using scene = new Scene(device);
  const call = valid(scene);
  const narrow = device.kind === "cuda" ? call.bf16OnGpu ?? [] : [];
  const args = call.args.map((value, place) => narrow.includes(place) ? BF16 : value);
  const { faults = [] } = call;
  const hidden = device.kind === "cuda" ? call.uncheckedOnGpu ?? [] : [];
  const unchecked = [...call.unchecked ?? [], ...hidden];
  const before = await scene.bytes();
  const types: readonly string[] = OP_SYMBOLS[op].parameters.slice(1);
  const all = [
    ...types.flatMap((type, i) => unchecked.includes(i) ? [] : badValues(type, i)),
    // What is wrong in these places depends on the device.
    ...faults.filter(([place]) => !narrow.includes(place)),
  ];
  for (const [place, value] of all) {
    const changed = [...args];
    changed[place] = value;
    const shapes = (): string => `argument ${place + 1} = ${value}`;
    const error = await assertRejects(
      () =>
        device.kernels.run(op, changed as unknown as OpArguments<K>, {
          flops: 0,
          bytes: 0,
          shapes,
        }),
      KernelError,
      `Cannot run ${op} with argument ${place + 1} = ${value} as it returned SX_`,
    );
    assertEquals(error.op, op);
    assert(REFUSALS.includes(error.status), error.message);
    const after = await scene.bytes();
    assertEquals(after, before, `${op} must leave all memory alone: ${error.message}`);
  }
  const shapes = (): string => "";
  await device.kernels.run(op, args as unknown as OpArguments<K>, { flops: 0, bytes: 0, shapes });
}

function badValues(type: string, place: number): [number, bigint | number][] {
  if (type === "u64") return [[place, 0n]];
  if (type === "i64") return [[place, -1n]];
  if (type === "i32") return [[place, 99], [place, -1]];
  return [];
}
