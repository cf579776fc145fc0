/**
 * Tests of an op against its scalar twin: every instruction set of this machine, with one and two
 * threads, and every build for its GPU, on the same random inputs.
 *
 * Outputs lie between guards, and start as NaN (integers: -1), so that a kernel that writes too
 * much or too little is found. One and two threads must give the same bits, and so must a GPU when
 * it does the same again.
 *
 * @module
 */
import { type Device, type DType, DTYPE_BYTES } from "../../lib/device/device.ts";
import { elementsToFloats, isFloatDType } from "../../lib/device/elements.ts";
import { Int8Matrix, int8Parts } from "../../lib/device/int8_matrix.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { assert, assertEquals, assertGreater } from "./assert.ts";
import {
  assertClose,
  assertSameBytes,
  assertSameInts,
  type Subject,
  type Tolerances,
} from "./compare.ts";
import { HAS_GPU, machineSets, openGpuBuilds } from "./device.ts";
import { Random, roundToBf16, seedOf } from "./random.ts";
import { BF16_INPUTS } from "./tolerances.ts";

/** Bytes in front of and behind an output. */
const GUARD_BYTES = 256;
const GUARD = 0xa5;
const UNWRITTEN = 0xff;

/** The instruction sets whose attention multiplies bf16 with bf16. */
export const BF16_PRODUCTS: readonly string[] = ["avx512_bf16", "amx_bf16"];

/** One set of sizes. */
export interface TwinCase {
  readonly name: string;
  /** Whether the inputs are bf16, so that a set with bf16 products may round what meets them. */
  readonly bf16?: boolean;
  /** Whether floats, too, must have the twin's bits. @default {false} */
  readonly exact?: boolean;
  /** Whether it holds on a CPU alone. @default {false} */
  readonly cpuOnly?: boolean;
  /** Calls the op on tensors from the bench. */
  readonly run: (bench: Bench) => Promise<void>;
}

/** What the benches of a case share: its inputs, so that all devices get the same. */
export interface SharedInputs {
  readonly inputs: Map<string, Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>>;
  readonly random: Random;
  /** Whether a GPU is tested: then queries, keys and values are bf16. @default {false} */
  readonly isForGpu?: boolean;
}

/** An output's final content. */
interface Output extends Subject {
  readonly dtype: DType;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Makes the tensors of one case on one device. */
export class Bench implements Disposable {
  readonly device: Device;
  /** Whether a GPU is tested, here or on the device that this one is compared with. */
  readonly isForGpu: boolean;
  readonly #inputs: SharedInputs["inputs"];
  readonly #random: Random;
  readonly #owned: Tensor[] = [];
  readonly #outputs: { whole: Tensor; tensor: Tensor }[] = [];

  constructor(device: Device, shared: SharedInputs) {
    this.device = device;
    this.isForGpu = shared.isForGpu ?? false;
    this.#inputs = shared.inputs;
    this.#random = shared.random;
  }

  /** Random floats; the same on every device for the same label. */
  async floats(
    label: string,
    shape: readonly number[],
    options: { dtype?: DType; scale?: number } = {},
  ): Promise<Tensor> {
    const { dtype = "f32", scale = 1 } = options;
    const make = (count: number): Float32Array<ArrayBuffer> => this.#random.floats(count, scale);
    return await this.data(label, { dtype, shape, make });
  }

  /** Random queries: f32 on a CPU, bf16 on a GPU, and then the same numbers on both. */
  async queries(label: string, shape: readonly number[]): Promise<Tensor> {
    const make = (count: number): Float32Array<ArrayBuffer> => {
      const values = this.#random.floats(count, 1);
      return this.isForGpu ? roundToBf16(values) : values;
    };
    return await this.data(label, {
      dtype: this.device.queryDtype,
      shape,
      make,
    });
  }

  /** Random integers of [low, high); the same on every device for the same label. */
  async ints(
    label: string,
    shape: readonly number[],
    range: { low: number; high: number },
  ): Promise<Tensor> {
    const make = (count: number): Int32Array<ArrayBuffer> => this.#random.ints(count, range);
    return await this.data(label, { dtype: "i32", shape, make });
  }

  /** Numbers of any origin; `make` runs once per label. */
  async data(
    label: string,
    options: {
      dtype: DType;
      shape: readonly number[];
      make: (count: number, random: Random) => Float32Array<ArrayBuffer> | Int32Array<ArrayBuffer>;
    },
  ): Promise<Tensor> {
    const { dtype, shape, make } = options;
    const tensor = Tensor.allocate(this.device, { dtype, shape, label });
    this.#owned.push(tensor);
    const values = this.#inputs.get(label) ?? make(tensor.size, this.#random);
    this.#inputs.set(label, values);
    await tensor.writeFrom(dtype === "i8" ? new Uint8Array(Int8Array.from(values).buffer) : values);
    return tensor;
  }

  /** A zero-filled tensor that is neither given nor compared. */
  zeros(label: string, dtype: DType, shape: readonly number[]): Tensor {
    const tensor = Tensor.allocate(this.device, { dtype, shape, label });
    this.#owned.push(tensor);
    return tensor;
  }

  /** A matrix in 8 bits, for what an op writes to it; compared with the twin's after the case. */
  async int8Output(label: string, shape: readonly [number, number]): Promise<Int8Matrix> {
    const parts = int8Parts({ shape, label });
    return new Int8Matrix({
      shape,
      panels: await this.output(label, "i8", parts.panels.shape),
      scales: await this.output(`scales of ${label}`, "f32", parts.scales.shape),
    });
  }

  /** An output between guards; compared with the twin's after the case. */
  async output(label: string, dtype: DType, shape: readonly number[]): Promise<Tensor> {
    const guard = GUARD_BYTES / DTYPE_BYTES[dtype];
    const size = shape.reduce((product, extent) => product * extent, 1);
    const whole = Tensor.allocate(this.device, { dtype, shape: [size + 2 * guard], label });
    this.#owned.push(whole);
    const bytes = new Uint8Array(whole.byteLength).fill(GUARD);
    bytes.fill(UNWRITTEN, GUARD_BYTES, bytes.length - GUARD_BYTES);
    await whole.writeFrom(bytes);
    const tensor = whole.rows(guard, size).reshape(shape);
    this.#outputs.push({ whole, tensor });
    return tensor;
  }

  /** An output that starts with the numbers of another tensor of its shape and dtype. */
  async outputFrom(label: string, initial: Tensor): Promise<Tensor> {
    const tensor = await this.output(label, initial.dtype, initial.shape);
    await tensor.writeFrom(await initial.toBytes());
    return tensor;
  }

  /** The outputs so far, in the order in which they were made. */
  outputTensors(): Tensor[] {
    return this.#outputs.map(({ tensor }) => tensor);
  }

  /** The outputs, their guards checked. */
  async collect(): Promise<Output[]> {
    const outputs: Output[] = [];
    for (const { whole, tensor } of this.#outputs) {
      const bytes = await whole.toBytes();
      const guards = [...bytes.subarray(0, GUARD_BYTES), ...bytes.subarray(-GUARD_BYTES)];
      const at = guards.findIndex((byte) => byte !== GUARD);
      assert(at < 0, `${tensor.label} must not be written outside: guard byte ${at} has changed`);
      const { dtype, label: name, shape } = tensor;
      outputs.push({ name, shape, dtype, bytes: await tensor.toBytes() });
    }
    return outputs;
  }

  [Symbol.dispose](): void {
    for (const tensor of this.#owned) tensor[Symbol.dispose]();
  }
}

/** What `twinTest()` takes. */
export interface TwinTestOptions {
  /** By dtype of the output. */
  readonly tolerance: Tolerances["byDtype"];
  readonly cases: readonly TwinCase[];
  /** What differs on a GPU: other tolerances, more cases. */
  readonly gpu?: { readonly tolerance?: Tolerances; readonly cases?: readonly TwinCase[] };
}

/**
 * Registers the tests of one op: on this machine's processor, and on its GPU.
 *
 * @param name The op as the test's name begins, for example `rmsNorm()`.
 */
export function twinTest(name: string, options: TwinTestOptions): void {
  const { tolerance, cases, gpu = {} } = options;
  Deno.test(`${name} equals its scalar twin`, (t) => testCpu(t, { name, tolerance, cases }));
  const onGpu = [...cases.filter(({ cpuOnly = false }) => !cpuOnly), ...gpu.cases ?? []];
  if (onGpu.length === 0) return;
  Deno.test({
    name: `${name} on a GPU equals its scalar twin`,
    ignore: !HAS_GPU,
    fn: (t) =>
      testGpu(t, { name, tolerance: gpu.tolerance ?? { byDtype: tolerance }, cases: onGpu }),
  });
}

async function testCpu(
  t: Deno.TestContext,
  options: { name: string; tolerance: Tolerances["byDtype"]; cases: readonly TwinCase[] },
): Promise<void> {
  using twin = await openTwin();
  const sets = await machineSets();
  assertGreater(sets.length, 0, "this machine must have an instruction set of the library");
  using devices = new DisposableStack();
  const kernels: Device[] = [];
  for (const instructionSet of sets) {
    for (const threads of [1, 2]) {
      const open = await openCpuDevice({ threads, instructionSet });
      kernels.push(devices.use(open));
    }
  }
  for (const twinCase of options.cases) {
    const seed = seedOf(`${options.name} ${twinCase.name}`);
    await t.step(`${twinCase.name}, seed ${seed}`, async () => {
      const shared = { inputs: new Map(), random: new Random(seed) };
      const expected = await runCase(twin, { twinCase, shared });
      let before: Output[] | undefined;
      for (const device of kernels) {
        const actual = await runCase(device, { twinCase, shared });
        const rounds = twinCase.bf16 === true && BF16_PRODUCTS.includes(device.instructionSet);
        const byDtype = rounds ? { f32: BF16_INPUTS, bf16: BF16_INPUTS } : options.tolerance;
        if (twinCase.exact === true) {
          compareBits(actual, { before: expected, what: `on ${device.description}` });
        } else {
          compareOutputs(actual, { expected, device, tolerance: { byDtype } });
        }
        if (device.threads > 1 && before !== undefined) {
          compareBits(actual, { before, what: "with two threads" });
        }
        before = actual;
      }
    });
  }
  for (const device of [twin, ...kernels]) assertEquals(device.liveAllocations, 0);
}

async function testGpu(
  t: Deno.TestContext,
  options: { name: string; tolerance: Tolerances; cases: readonly TwinCase[] },
): Promise<void> {
  using twin = await openTwin();
  using devices = new DisposableStack();
  const builds = await openGpuBuilds(devices);
  for (const twinCase of options.cases) {
    const seed = seedOf(`${options.name} ${twinCase.name}`);
    await t.step(`${twinCase.name}, seed ${seed}`, async () => {
      const shared = { inputs: new Map(), random: new Random(seed), isForGpu: true };
      const expected = await runCase(twin, { twinCase, shared });
      for (const { device, build } of builds) {
        const actual = await runCase(device, { twinCase, shared });
        if (twinCase.exact === true) {
          compareBits(actual, { before: expected, what: build });
        } else {
          compareOutputs(actual, { expected, device, build, tolerance: options.tolerance });
        }
        const before = await runCase(device, { twinCase, shared });
        compareBits(actual, { before, what: `done again, ${build}` });
      }
    });
  }
  for (const { device } of builds) assertEquals(device.liveAllocations, 0);
}

async function openTwin(): Promise<Device> {
  return await openCpuDevice({ threads: 1, instructionSet: "scalar", tests: true });
}

async function runCase(
  device: Device,
  options: { twinCase: TwinCase; shared: SharedInputs },
): Promise<Output[]> {
  using bench = new Bench(device, options.shared);
  await options.twinCase.run(bench);
  const outputs = await bench.collect();
  assertGreater(outputs.length, 0, "a case must have an output");
  return outputs;
}

function compareOutputs(
  actual: readonly Output[],
  options: {
    expected: readonly Output[];
    device: Device;
    build?: string;
    tolerance: Tolerances;
  },
): void {
  for (const [i, output] of options.expected.entries()) {
    const { dtype, shape } = output;
    const found = actual[i];
    assert(found !== undefined, "each device must have the same outputs");
    const where = [options.device.description, options.build ?? ""].join(" ").trim();
    const subject = { name: `${where}: ${output.name}`, shape };
    if (dtype === "i32") {
      const expected = new Int32Array(output.bytes.buffer);
      assertSameInts(new Int32Array(found.bytes.buffer), { expected, subject });
      continue;
    }
    if (!isFloatDType(dtype)) {
      assertSameBytes(found.bytes, { expected: output.bytes, subject });
      continue;
    }
    const { byDtype, byName = {} } = options.tolerance;
    const tolerance = byName[output.name] ?? byDtype[dtype];
    assert(tolerance !== undefined, `the test must have a tolerance for ${dtype}`);
    const expected = elementsToFloats(output.bytes, dtype);
    assertClose(elementsToFloats(found.bytes, dtype), { expected, tolerance, subject });
  }
}

function compareBits(
  actual: readonly Output[],
  options: { before: readonly Output[]; what: string },
): void {
  for (const [i, { bytes: expected, name, shape }] of options.before.entries()) {
    const found = actual[i];
    assert(found !== undefined, "each device must have the same outputs");
    const subject = { name: `${name} ${options.what}`, shape };
    assertSameBytes(found.bytes, { expected, subject });
  }
}
