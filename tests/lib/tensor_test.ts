/**
 * Tensors, their views, and the memory that they lie in.
 *
 * @module
 */
import type { DType } from "../../lib/device/device.ts";
import type { KvSegment } from "../../lib/device/kv_segment.ts";
import { segmentLayout } from "../../lib/device/kv_segment.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { Workspace, workspaceBytes } from "../../lib/device/workspace.ts";
import { addressOf } from "../../lib/ffi/memory.ts";
import { KernelError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { withCpu } from "../helpers/device.ts";

const label = "x";

/** 0, 1, 2, … */
function counting(count: number): Float32Array<ArrayBuffer> {
  return Float32Array.from({ length: count }, (_, i) => i);
}

Deno.test("Tensor.allocate() gives zeros at a multiple of 64 bytes", async () => {
  await withCpu(async (device) => {
    for (const shape of [[1], [3, 5], [70_000, 9], [0, 4]]) {
      using tensor = Tensor.allocate(device, { dtype: "f32", shape, label });
      assertEquals(tensor.address % 64n, 0n);
      assertEquals(await tensor.toFloats(), new Float32Array(tensor.size));
      assertEquals(device.liveAllocations, 1);
    }
  });
});

Deno.test("Tensor.allocate() throws if a shape is no shape", async (t) => {
  const cases: [string, number[], typeof RangeError, string][] = [
    ["no dimension", [], TypeError, "Cannot make tensor 'x' as it must have a dimension"],
    ["negative", [2, -1], RangeError, "at least 0: current value is [2, -1]"],
    ["a fraction", [1.5], RangeError, "at least 0: current value is [1.5]"],
    ["NaN", [NaN], RangeError, "at least 0: current value is [NaN]"],
    [
      "too many bytes",
      [2 ** 30, 2 ** 30],
      RangeError,
      "Cannot make tensor 'x' as it must have less than 2^53 bytes: current value is " +
      "[1073741824, 1073741824] f32",
    ],
    [
      "too many bytes behind a 0",
      [0, 2 ** 52, 2 ** 52],
      RangeError,
      "it must have less than 2^53 bytes",
    ],
  ];
  for (const [name, shape, errorClass, message] of cases) {
    await t.step(name, () =>
      withCpu((device) => {
        assertThrows(
          () => Tensor.allocate(device, { dtype: "f32", shape, label }),
          errorClass,
          message,
        );
      }));
  }
});

Deno.test("Tensor.allocate() throws if there is not enough memory", async () => {
  await withCpu((device) => {
    const error = assertThrows(
      () => Tensor.allocate(device, { dtype: "f32", shape: [2 ** 50], label }),
      KernelError,
      "Cannot run sx_alloc with 4503599627370496 bytes for 'x' as it returned SX_OUT_OF_MEMORY",
    );
    assertEquals(error.status, "SX_OUT_OF_MEMORY");
  });
});

Deno.test("Tensor views share the owner's memory", async () => {
  await withCpu(async (device) => {
    using tensor = Tensor.allocate(device, { dtype: "f32", shape: [4, 6], label });
    await tensor.writeFrom(counting(24));
    const rows = tensor.rows(1, 2);
    assertEquals(rows.shape, [2, 6]);
    assertEquals(await rows.toFloats(), counting(24).slice(6, 18));
    const columns = tensor.columns(2, 3);
    assertEquals([columns.shape, columns.rowStride, columns.contiguous], [[4, 3], 6, false]);
    assertEquals(
      [...await columns.toFloats()],
      [2, 3, 4, 8, 9, 10, 14, 15, 16, 20, 21, 22],
    );
    assertEquals([...await columns.rows(3, 1).toFloats()], [20, 21, 22]);
    assertEquals(await tensor.reshape([2, 2, 6]).rows(1, 1).toFloats(), counting(24).slice(12));
    await columns.writeFrom(new Float32Array(12).fill(-1));
    assertEquals([...(await tensor.toFloats()).slice(0, 8)], [0, 1, -1, -1, -1, 5, 6, 7]);
    assertEquals(columns.reshape([4, 3, 1]).rowStride, 6);
    rows[Symbol.dispose]();
    assertEquals((await tensor.toFloats())[23], 23, "disposal of a view frees nothing");
  });
});

Deno.test("Tensor views throw if they would leave the tensor", async () => {
  await withCpu((device) => {
    using tensor = Tensor.allocate(device, { dtype: "f32", shape: [4, 6], label });
    const message = "Cannot slice tensor 'x' as rows must lie within 0 to 4: current value is ";
    for (const [start, count] of [[3, 2], [-1, 2], [5, 0], [0.5, 1], [1, -1], [NaN, 1]] as const) {
      assertThrows(() => tensor.rows(start, count), RangeError, message);
    }
    assertThrows(
      () => tensor.columns(6, 1),
      RangeError,
      "Cannot slice tensor 'x' as columns must lie within 0 to 6: current value is 6 to 7",
    );
    assertThrows(
      () => tensor.reshape([24]).columns(0, 1),
      TypeError,
      "Cannot take columns of tensor 'x' as it must have 2 dimensions: current value is [24]",
    );
    assertThrows(
      () => tensor.reshape([5, 5]),
      RangeError,
      "Cannot reshape tensor 'x' as [5, 5] must have the elements of [4, 6]",
    );
    assertThrows(
      () => tensor.columns(0, 3).reshape([12]),
      RangeError,
      "Cannot reshape tensor 'x' as [12] must have the elements of [4, 3] and the same rows",
    );
    assertThrows(
      () => tensor.columns(0, 3).hostBytes(),
      TypeError,
      "Cannot view tensor 'x' as its rows must be contiguous: current value is [4, 3] with row " +
        "stride 6",
    );
  });
});

Deno.test("Tensor throws if it is used after disposal", async () => {
  await withCpu(async (device) => {
    const tensor = Tensor.allocate(device, { dtype: "f32", shape: [2, 2], label });
    const view = tensor.rows(0, 1);
    const bytes = tensor.hostBytes();
    tensor[Symbol.dispose]();
    tensor[Symbol.dispose]();
    assertEquals(device.liveAllocations, 0);
    assertEquals(bytes.length, 0, "views of the memory are detached");
    const owner = "Cannot use tensor 'x' as it is disposed";
    assertThrows(() => tensor.address, TypeError, owner);
    assertThrows(() => tensor.hostBytes(), TypeError, owner);
    assertThrows(() => tensor.rows(0, 1), TypeError, owner);
    await assertRejects(() => tensor.toFloats(), TypeError, owner);
    const memory = "Cannot use memory 'x' as it is disposed";
    assertThrows(() => view.address, TypeError, memory);
    assertThrows(() => view.hostBytes(), TypeError, memory);
    await assertRejects(() => view.writeFrom(new Float32Array(2)), TypeError, memory);
  });
});

Deno.test("Tensor.writeFrom() throws if the numbers do not fit", async () => {
  await withCpu(async (device) => {
    using floats = Tensor.allocate(device, { dtype: "bf16", shape: [2, 2], label });
    using ints = Tensor.allocate(device, { dtype: "i32", shape: [2], label });
    await assertRejects(
      () => floats.writeFrom(new Float32Array(3)),
      RangeError,
      "Cannot write tensor 'x' as [2, 2] bf16 must get 8 bytes: current value is 6",
    );
    await assertRejects(
      () => floats.writeFrom(new Int32Array(2)),
      TypeError,
      "Cannot write tensor 'x' as bf16 must get floats: current value is Int32Array",
    );
    await assertRejects(
      () => ints.writeFrom(new Float32Array(2)),
      TypeError,
      "Cannot write tensor 'x' as i32 must get integers: current value is Float32Array",
    );
    await assertRejects(() => ints.toFloats(), TypeError, "Cannot read tensor 'x' as floats");
    await assertRejects(
      () => floats.toInts(),
      TypeError,
      "Cannot read tensor 'x' as it must be i32: current value is bf16",
    );
  });
});

Deno.test("Tensor rounds to nearest even and widens exactly", async (t) => {
  const cases: [DType, number[], number[]][] = [
    [
      "bf16",
      [1, 1 + 2 ** -8, 1 + 3 * 2 ** -8, 1 + 2 ** -8 + 2 ** -20, -3.4e38, NaN, -Infinity, 1e-40],
      [1, 1, 1 + 2 ** -6, 1 + 2 ** -7, -Infinity, NaN, -Infinity, 2 ** -133],
    ],
    ["f16", [1 + 2 ** -11, 65_519, 65_520, 2 ** -25, NaN], [1, 65_504, Infinity, 0, NaN]],
    ["f32", [0.1, -0, NaN], [Math.fround(0.1), -0, NaN]],
  ];
  for (const [dtype, values, expected] of cases) {
    await t.step(dtype, () =>
      withCpu(async (device) => {
        using tensor = Tensor.allocate(device, { dtype, shape: [values.length], label });
        await tensor.writeFrom(Float32Array.from(values));
        assertEquals(await tensor.toFloats(), Float32Array.from(expected));
      }));
  }
});

Deno.test("Tensor.foreign() reads somebody else's memory in place", async () => {
  await withCpu(async (device) => {
    const bytes = new Uint8Array(counting(16).buffer);
    let alive = true;
    const keepAlive = {
      get pointer(): bigint {
        if (!alive) throw new TypeError("gone");
        return addressOf(bytes);
      },
      byteLength: bytes.byteLength,
      bytes,
    };
    const address = keepAlive.pointer + 16n;
    const make = (shape: number[], at = address): Tensor =>
      Tensor.foreign(device, { dtype: "f32", shape, address: at, keepAlive, label });
    const tensor = make([3, 4]);
    assertEquals(await tensor.toFloats(), counting(16).slice(4));
    assertEquals(tensor.writable, false);
    await assertRejects(
      () => tensor.writeFrom(new Float32Array(12)),
      TypeError,
      "Cannot write tensor 'x' as its memory is read-only",
    );
    assertThrows(
      () => make([13]),
      RangeError,
      "Cannot place tensor 'x' as it must lie within the 64 bytes of 'x': current value is 16 to 68",
    );
    assertThrows(() => make([1], address - 20n), RangeError, "current value is -4 to 0");
    assertThrows(
      () => make([1], address + 1n),
      RangeError,
      "Cannot use tensor 'x' in place as its address must be a multiple of 4: current value is ",
    );
    tensor[Symbol.dispose]();
    assertThrows(() => tensor.address, TypeError, "Cannot use tensor 'x' as it is disposed");
    const later = make([1]);
    alive = false;
    assertThrows(() => later.address, TypeError, "gone");
    assertEquals(device.liveAllocations, 0);
  });
});

Deno.test("Workspace deals out aligned tensors until it is full", async () => {
  await withCpu(async (device) => {
    const wanted = [{ dtype: "bf16", shape: [3] }, { dtype: "f32", shape: [5, 5] }] as const;
    assertEquals(workspaceBytes(wanted), 64 + 128);
    using workspace = Workspace.allocate(device, workspaceBytes(wanted));
    const [first, second] = wanted.map((options) => workspace.take(options));
    assert(first !== undefined && second !== undefined);
    assertEquals([first.address % 64n, second.address - first.address], [0n, 64n]);
    assertThrows(
      () => workspace.take({ dtype: "i32", shape: [1], label: "ids" }),
      RangeError,
      "Cannot take [1] i32 'ids' from the workspace as 64 bytes must be left: " +
        "current value is 0 of 192",
    );
    assertEquals(workspace.take({ dtype: "f32", shape: [0, 9] }).size, 0);
    workspace.reset();
    assertThrows(
      () => first.address,
      TypeError,
      "Cannot use a scratch tensor as its workspace was reset or disposed",
    );
    const again = workspace.take({ dtype: "f32", shape: [16] });
    await again.writeFrom(counting(16));
    assertEquals(await again.toFloats(), counting(16));
    assertThrows(
      () => workspace.take({ dtype: "f32", shape: [33], label: "more" }),
      RangeError,
      "current value is 128 of 192",
    );
  });
});

Deno.test("segmentLayout() finds the first row, and throws if the tokens leave the cache", async () => {
  await withCpu((device) => {
    const make = (dtype: DType, shape: number[]): Tensor =>
      Tensor.allocate(device, { dtype, shape, label });
    using keys = make("bf16", [2, 10, 64]);
    using values = make("bf16", [2, 10, 64]);
    using wide = make("f32", [2, 10, 64]);
    using short = make("bf16", [2, 9, 64]);
    const segment: KvSegment = { keys, values, start: 3, tokens: 7 };
    assertEquals(segmentLayout(segment, "keys"), {
      keys: keys.address + 3n * 128n,
      values: values.address + 3n * 128n,
      kvHeads: 2,
      headDim: 64,
      tokenStride: 64,
      headStride: 640,
      ...{ keyScales: 0n, valueScales: 0n, scaleHeadStride: 0 },
    });
    const range = "Cannot use segment 'keys' as its tokens must lie within a cache of 10: ";
    for (const [start, tokens] of [[4, 7], [-1, 2], [0, 11], [0.5, 1], [11, 0]] as const) {
      assertThrows(() => segmentLayout({ keys, values, start, tokens }, "keys"), RangeError, range);
    }
    assertThrows(
      () => segmentLayout({ ...segment, values: wide }, "keys"),
      TypeError,
      "as keys and values must both be bf16 or f32, or of 8 bits: current value is bf16 and f32",
    );
    assertThrows(
      () => segmentLayout({ ...segment, values: short }, "keys"),
      RangeError,
      "as its values must have the keys' shape [2, 10, 64] and strides: current value is [2, 9, 64]",
    );
    assertThrows(
      () => segmentLayout({ ...segment, keys: keys.reshape([20, 64]) }, "keys"),
      TypeError,
      "as its keys must be [kv_heads, capacity, head_dim]: current value is [20, 64]",
    );
  });
});
