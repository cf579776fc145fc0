/**
 * The CPU as a device: opening it, the order of its ops, and disposal while they run.
 *
 * @module
 */
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { describeCpu } from "../../lib/device/cpu_description.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { DeviceError, KernelError } from "../../lib/errors.ts";
import type { InstructionSet } from "../../lib/ffi/status.ts";
import { matmul } from "../../lib/ops/matmul.ts";
import { argmax } from "../../lib/ops/sample.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";

function make(device: Device, shape: readonly number[]): Tensor {
  return Tensor.allocate(device, { dtype: "f32", shape, label: "t" });
}

Deno.test("openCpuDevice() throws if the number of threads is out of range", async () => {
  for (const threads of [0, -1, 1.5, 257, NaN]) {
    await assertRejects(
      () => openCpuDevice({ threads }),
      RangeError,
      `Cannot open the CPU as 'threads' must be 1 to 256: current value is ${threads}`,
    );
  }
});

Deno.test("openCpuDevice() throws if machine or library lack the instruction set", async () => {
  const { instructionSets, scalar } = await describeCpu();
  assertEquals(scalar, false, "the library that is used has no twins");
  const all: InstructionSet[] = ["avx2", "avx512", "avx512_bf16", "amx_bf16"];
  for (const instructionSet of ["scalar" as const, ...all]) {
    if (instructionSets.includes(instructionSet)) continue;
    await assertRejects(
      () => openCpuDevice({ threads: 1, instructionSet }),
      DeviceError,
      `Cannot open the CPU as the machine and the library must have ${instructionSet}: ` +
        `current value is ${instructionSets.join(", ")}`,
    );
  }
});

Deno.test("openCpuDevice() takes the instruction set that STARX_ISA names", async () => {
  const before = Deno.env.get("STARX_ISA");
  try {
    Deno.env.set("STARX_ISA", "scalar");
    using device = await openCpuDevice({ threads: 2, tests: true });
    assertEquals(
      [device.kind, device.instructionSet, device.threads, device.description],
      ["cpu", "scalar", 2, "cpu scalar, 2 threads"],
    );
    Deno.env.set("STARX_ISA", "sse9");
    await assertRejects(
      () => openCpuDevice({ threads: 1 }),
      DeviceError,
      "Cannot open the CPU as the environment's STARX_ISA must be one of auto, scalar, avx2, " +
        "avx512, avx512_bf16, amx_bf16, or two of them with + between: current value is " +
        '"sse9"',
    );
  } finally {
    if (before === undefined) Deno.env.delete("STARX_ISA");
    else Deno.env.set("STARX_ISA", before);
  }
});

/** What an op refuses. */
const NOTHING = { out: 0n, logits: 0n, rows: 0, count: 0 } as const;

Deno.test("Device refuses allocations and ops after disposal", async () => {
  const device = await openCpuDevice({ threads: 1 });
  const [out, x] = [make(device, [1, 1]), make(device, [1, 1])];
  device[Symbol.dispose]();
  device[Symbol.dispose]();
  assertEquals(device.liveAllocations, 0, "a device takes its memory along");
  assertThrows(() => make(device, [1]), TypeError, "as the device is disposed");
  await assertRejects(() => matmul(device, { out, x, weight: x }), TypeError, "is disposed");
  await assertRejects(
    () => device.kernels.run("sx_argmax", NOTHING, { flops: 0, bytes: 0, shapes: String }),
    TypeError,
    "Cannot run sx_argmax as the device is disposed",
  );
});

Deno.test("Kernels run in the order in which they were started", async () => {
  await withCpu(async (device) => {
    const size = 300;
    using one = make(device, [size, size]);
    using sum = make(device, [size, size]);
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "ids" });
    await one.writeFrom(new Float32Array(size * size).fill(1));
    const ended: string[] = [];
    const note = (name: string) => (): void => void ended.push(name);
    // A large op leaves the thread; the small one behind it must wait, and then see its result.
    const large = matmul(device, { out: sum, x: one, weight: one }).then(note("large"));
    const small = argmax(device, { out: ids, logits: sum.rows(0, 1) }).then(note("small"));
    const again = matmul(device, { out: sum, x: one, weight: one, accumulate: true });
    const upload = one.rows(0, 1).writeFrom(new Float32Array(size).fill(5)).then(note("upload"));
    assertEquals(ended, []);
    await Promise.all([large, small, again, upload]);
    assertEquals(ended, ["large", "small", "upload"]);
    assertEquals(await sum.toFloats(), new Float32Array(size * size).fill(2 * size));
  }, { threads: 2 });
});

Deno.test("Kernels keep what a waiting or recorded call takes while others are made", async () => {
  await withCpu(async (device) => {
    const size = 700;
    using one = make(device, [size, size]);
    using sum = make(device, [size, size]);
    using logits = make(device, [3, 4]);
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [3], label: "ids" });
    await one.writeFrom(new Float32Array(size * size).fill(1));
    await logits.writeFrom(Float32Array.of(0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1));
    const row = (index: number): Promise<void> =>
      argmax(device, { out: ids.rows(index, 1), logits: logits.rows(index, 1) });
    // The product runs on another thread: calls behind it wait, each for its own row.
    const large = matmul(device, { out: sum, x: one, weight: one });
    const waiting = [row(0), row(1), row(2)];
    await Promise.all([large, ...waiting]);
    assertEquals(await ids.toInts(), Int32Array.of(1, 2, 3));
    assert(device.recorder !== undefined, "a CPU must be able to record ops");
    using recorded = await device.recorder.record(async () => {
      for (const index of [2, 0, 1]) await row(index);
    });
    await argmax(device, { out: ids.rows(0, 1), logits: logits.rows(2, 1) });
    assertEquals(await ids.toInts(), Int32Array.of(3, 2, 3));
    await logits.writeFrom(Float32Array.of(1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0));
    await recorded.run();
    assertEquals(await ids.toInts(), Int32Array.of(0, 3, 1));
  }, { threads: 2 });
});

Deno.test("Kernels let the event loop run during a long row of small ops", async () => {
  await withCpu(async (device) => {
    using one = make(device, [16, 256]);
    using weight = make(device, [16, 256]);
    using out = make(device, [16, 16]);
    let ticks = 0;
    const timer = setInterval(() => void ticks++, 1);
    for (let i = 0; i < 50_000 && ticks === 0; i++) {
      await matmul(device, { out, x: one, weight });
    }
    clearInterval(timer);
    assert(ticks > 0, "a timer must fire between the ops");
  });
});

Deno.test("Threads of a pool sleep while there is no op", async () => {
  await withCpu(async (device) => {
    const size = 512;
    using one = make(device, [size, size]);
    using out = make(device, [size, size]);
    await matmul(device, { out, x: one, weight: one });
    let running = await runningThreads();
    for (let i = 0; i < 100 && running > 0; i++) running = await runningThreads();
    assertEquals(running, 0, "a thread must not run for longer than some ms after an op");
  }, { threads: 4 });
});

/** Threads of this process that run or wait for a core. */
async function runningThreads(): Promise<number> {
  const script = `grep -l "^State:.R" /proc/${Deno.pid}/task/*/status | wc -l`;
  const { success, stdout } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  assert(success, "the states of threads must be readable");
  return Number(new TextDecoder().decode(stdout));
}

Deno.test("OpRecorder runs recorded ops again, with what their tensors hold then", async () => {
  await withCpu(async (device) => {
    using one = make(device, [1, 3]);
    using weight = make(device, [2, 3]);
    using out = make(device, [1, 2]);
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [1], label: "ids" });
    await weight.writeFrom(Float32Array.of(1, 2, 3, 4, 5, 6));
    assert(device.recorder !== undefined, "a CPU must be able to record ops");
    const recorded = await device.recorder.record(async () => {
      await matmul(device, { out, x: one, weight });
      await argmax(device, { out: ids, logits: out });
    });
    assertEquals(await out.toFloats(), Float32Array.of(0, 0));
    for (const [value, id] of [[1, 1], [-1, 0]] as const) {
      await one.writeFrom(new Float32Array(3).fill(value));
      await recorded.run();
      const pending = device.recorder.fetch(ids);
      await ids.writeFrom(Int32Array.of(7));
      assertEquals(await out.toFloats(), Float32Array.of(6 * value, 15 * value));
      assertEquals([...new Int32Array((await pending.read()).buffer)], [id]);
    }
    recorded[Symbol.dispose]();
    await assertRejects(
      () => recorded.run(),
      TypeError,
      "Cannot run recorded ops as they are disposed",
    );
  }, { threads: 2 });
});

Deno.test("OpRecorder.record() passes on what was thrown, and ops run again after it", async () => {
  await withCpu(async (device) => {
    using one = make(device, [1, 1]);
    using out = make(device, [1, 1]);
    await one.writeFrom(Float32Array.of(3));
    const { recorder } = device;
    assert(recorder !== undefined, "a CPU must be able to record ops");
    const failing = () => recorder.record(() => Promise.reject(new Error("no step")));
    await assertRejects(failing, Error, "no step");
    await matmul(device, { out, x: one, weight: one });
    assertEquals(await out.toFloats(), Float32Array.of(9));
  });
});

Deno.test("Kernels go on after an op that failed", async () => {
  await withCpu(async (device) => {
    const call = { flops: 1e9, bytes: 0, shapes: (): string => "no tensors" };
    const failing = device.kernels.run("sx_argmax", { ...NOTHING, rows: 1, count: 1 }, call);
    using out = make(device, [1, 1]);
    using one = make(device, [1, 1]);
    await one.writeFrom(Float32Array.of(3)).catch(() => assert(false));
    const after = matmul(device, { out, x: one, weight: one });
    const error = await assertRejects(
      () => failing,
      KernelError,
      "Cannot run sx_argmax with no tensors as it returned SX_INVALID_ARGUMENT: ",
    );
    assertEquals([error.op, error.status], ["sx_argmax", "SX_INVALID_ARGUMENT"]);
    await after;
    assertEquals(await out.toFloats(), Float32Array.of(9));
  });
});

Deno.test("Tensor and device may be disposed of while an op is under way", async () => {
  const device = await openCpuDevice({ threads: 2 });
  const size = 700;
  const [out, one] = [make(device, [size, size]), make(device, [size, size])];
  const first = matmul(device, { out, x: one, weight: one });
  const second = matmul(device, { out, x: one, weight: one, accumulate: true });
  out[Symbol.dispose]();
  one[Symbol.dispose]();
  assertEquals(device.liveAllocations, 0);
  device[Symbol.dispose]();
  await Promise.all([first, second]);
  await device.kernels.idle();
});

Deno.test("ops throw if their tensors do not fit, before any call", async (t) => {
  await withCpu(async (device) => {
    using other = await openCpuDevice({ threads: 1 });
    using foreign = make(other, [2, 3]);
    using x = make(device, [2, 3]);
    using weight = make(device, [4, 3]);
    using out = make(device, [2, 4]);
    using ids = Tensor.allocate(device, { dtype: "i32", shape: [2, 3], label: "ids" });
    const gone = make(device, [2, 3]);
    gone[Symbol.dispose]();
    const faults: [string, () => Promise<void>, typeof RangeError, string][] = [
      [
        "dtype",
        () => matmul(device, { out, x: ids, weight }),
        TypeError,
        "Cannot run matmul as 'x' must be f32 or bf16: current value is [2, 3] i32",
      ],
      [
        "rank",
        () => matmul(device, { out, x: x.reshape([6]), weight }),
        TypeError,
        "Cannot run matmul as 'x' must have 2 dimensions: current value is [6] f32",
      ],
      [
        "extent",
        () => matmul(device, { out, x, weight: weight.reshape([3, 4]) }),
        RangeError,
        "Cannot run matmul as 'out' must have shape [2, 3]: current value is [2, 4] f32",
      ],
      [
        "disposed",
        () => matmul(device, { out, x: gone, weight }),
        TypeError,
        "Cannot use tensor 't' as it is disposed",
      ],
      [
        "gaps",
        () =>
          matmul(device, { out: out.columns(0, 2), x: x.columns(0, 2), weight: x.columns(0, 2) }),
        TypeError,
        "Cannot run matmul as 'weight' must be contiguous: current value is [2, 2] f32 with row " +
        "stride 3",
      ],
      [
        "another device",
        () => matmul(device, { out, x: foreign, weight }),
        TypeError,
        "Cannot run matmul as 'x' must be on the op's device",
      ],
    ];
    for (const [name, run, errorClass, message] of faults) {
      await t.step(name, async () => {
        await assertRejects(run, errorClass, message);
      });
    }
  });
});
