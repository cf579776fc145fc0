/**
 * Tests that an op refuses arguments which are out of their range, and leaves its outputs alone.
 *
 * @module
 */
import { KernelError } from "../../lib/errors.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import type { OpParams } from "../../lib/ffi/op_params.ts";
import { DTYPE_CODES } from "../../lib/ffi/status.ts";
import type { OpName } from "../../lib/ffi/symbols.ts";
import { camelCase } from "../../kernels/generate.ts";
import { headerText, type Leaf, leavesOf, parseHeader } from "../../kernels/header.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { HAS_GPU, machineSets, withCpu, withGpuBuilds } from "./device.ts";

const HEADER = parseHeader(headerText());

/** Wrong anywhere, or legal but without code here (dtypes). */
const REFUSALS: readonly string[] = ["SX_INVALID_ARGUMENT", "SX_UNSUPPORTED"];

/** A valid call, and what may be replaced in it; fields are named as in `kv.keys`. */
export interface ValidCall<K extends OpName> {
  readonly params: OpParams[K];
  /** Pointers that may be null, and numbers that may be anything. */
  readonly unchecked?: readonly string[];
  /** Further values that must be refused. */
  readonly faults?: readonly (readonly [string, number])[];
  /** Pointers that may be null for all that the host of a GPU can know. */
  readonly uncheckedOnGpu?: readonly string[];
  /** The dtypes of queries, keys and values: f32 on a CPU, bf16 on a GPU. */
  readonly bf16OnGpu?: readonly string[];
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
export function refusalTest<K extends OpName>(op: K, valid: (scene: Scene) => ValidCall<K>): void {
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
  options: { device: Device; valid: (scene: Scene) => ValidCall<K> },
): Promise<void> {
  const { device, valid } = options;
  using scene = new Scene(device);
  const call = valid(scene);
  const narrow = device.queryDtype === "bf16" ? call.bf16OnGpu ?? [] : [];
  const params = narrow.reduce((all, field) => withField(all, [field, BF16]), call.params);
  const { faults = [] } = call;
  const hidden = device.hasHostMemory ? [] : call.uncheckedOnGpu ?? [];
  const unchecked = [...call.unchecked ?? [], ...hidden];
  const before = await scene.bytes();
  const all = [
    ...leavesOf(HEADER, `${op}_params`).flatMap(({ path, kind }) => {
      const field = path.map(camelCase).join(".");
      return unchecked.includes(field) ? [] : badValues(kind, field);
    }),
    // What is wrong in these places depends on the device.
    ...faults.filter(([field]) => !narrow.includes(field)),
  ];
  for (const [field, value] of all) {
    const changed = withField(params, [field, value]);
    const shapes = (): string => `${field} = ${value}`;
    const error = await assertRejects(
      () => device.kernels.run(op, changed, { flops: 0, bytes: 0, shapes }),
      KernelError,
      `Cannot run ${op} with ${field} = ${value} as it returned SX_`,
    );
    assertEquals(error.op, op);
    assert(REFUSALS.includes(error.status), error.message);
    const after = await scene.bytes();
    assertEquals(after, before, `${op} must leave all memory alone: ${error.message}`);
  }
  await device.kernels.run(op, params, { flops: 0, bytes: 0, shapes: String });
}

function badValues(kind: Leaf["kind"], field: string): [string, bigint | number][] {
  if (kind === "pointer") return [[field, 0n]];
  if (kind === "i64") return [[field, -1]];
  if (kind === "i32") return [[field, 99], [field, -1]];
  return [];
}

/** The same parameters but for one field, which must be there. */
function withField<T extends object>(
  params: T,
  [field, value]: readonly [string, bigint | number],
): T {
  const [first = "", ...rest] = field.split(".");
  const inner: unknown = (params as Readonly<Record<string, unknown>>)[first];
  assert(inner !== undefined, `the parameters must have ${field}`);
  const changed = typeof inner === "object" && inner !== null
    ? withField(inner, [rest.join("."), value])
    : value;
  return { ...params, [first]: changed };
}
