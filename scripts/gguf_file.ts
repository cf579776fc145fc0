/**
 * Writes GGUF files, version 3: keys with their values, then tensors.
 *
 * The layout is that of ggml's `docs/gguf.md`.
 *
 * @module
 */
import { floatsToElements } from "../lib/device/elements.ts";
import { invariant } from "../lib/errors.ts";

/** A value with its type in the file. */
export type GgufPair =
  | readonly [key: string, type: "u32" | "f32", value: number]
  | readonly [key: string, type: "bool", value: boolean]
  | readonly [key: string, type: "text", value: string]
  | readonly [key: string, type: "texts", value: readonly string[]]
  | readonly [key: string, type: "i32s" | "f32s", value: readonly number[]];

/** What tensors may be made of, by its number in `enum ggml_type`. */
export const TENSOR_TYPES = { f32: 0, f16: 1, q8_0: 8, bf16: 30 } as const;

/** A type of tensors. */
export type TensorType = keyof typeof TENSOR_TYPES;

/** A tensor of the file, and how to get its bytes. */
export interface GgufTensor {
  readonly name: string;
  /** Row-major; the file has it reversed. */
  readonly shape: readonly number[];
  readonly type: TensorType;
  readonly bytes: () => Uint8Array;
}

/** `enum gguf_type`. */
const VALUE_TYPES = { u32: 4, i32: 5, f32: 6, bool: 7, text: 8, array: 9 } as const;
const ALIGNMENT = 32;
const ELEMENT_BYTES = { f32: 4, f16: 2, bf16: 2 } as const;
/** Elements and bytes of a block of Q8_0: a scale in f16, then signed bytes. */
const BLOCK = { elements: 32, bytes: 34 } as const;

/** Writes a file. @param path Is replaced. */
export async function writeGgufFile(
  path: string,
  content: { pairs: readonly GgufPair[]; tensors: readonly GgufTensor[] },
): Promise<void> {
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  await writeAll(file, header(content.pairs, content.tensors));
  for (const tensor of content.tensors) await writeAll(file, padded(tensor.bytes()));
}

/** The bytes of numbers in a type of tensors. */
export function encodeTensor(floats: Float32Array<ArrayBuffer>, type: TensorType): Uint8Array {
  return type === "q8_0" ? quantize(floats) : floatsToElements(floats, type);
}

/** As ggml's `quantize_row_q8_0_ref()`: the largest number of a block becomes 127. */
function quantize(floats: Float32Array): Uint8Array {
  const count = floats.length / BLOCK.elements;
  invariant(Number.isInteger(count), "Q8_0 takes whole blocks");
  const bytes = new Uint8Array(count * BLOCK.bytes);
  const view = new DataView(bytes.buffer);
  for (let block = 0; block < count; block++) {
    const numbers = floats.subarray(block * BLOCK.elements, (block + 1) * BLOCK.elements);
    const largest = numbers.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
    const scale = Math.fround(largest / 127);
    const inverse = scale === 0 ? 0 : Math.fround(1 / scale);
    view.setFloat16(block * BLOCK.bytes, scale, true);
    for (const [i, value] of numbers.entries()) {
      const scaled = Math.fround(value * inverse);
      // Halves are rounded away from zero, as C's roundf() does.
      const rounded = Math.sign(scaled) * Math.floor(Math.abs(scaled) + 0.5);
      view.setInt8(block * BLOCK.bytes + 2 + i, rounded);
    }
  }
  return bytes;
}

function byteLength({ shape, type }: GgufTensor): number {
  const elements = shape.reduce((product, extent) => product * extent, 1);
  return type === "q8_0" ? elements / BLOCK.elements * BLOCK.bytes : elements * ELEMENT_BYTES[type];
}

function header(pairs: readonly GgufPair[], tensors: readonly GgufTensor[]): Uint8Array {
  const out = new ByteWriter();
  out.text("GGUF");
  out.uint32(3);
  out.uint64(tensors.length);
  out.uint64(pairs.length);
  for (const pair of pairs) writePair(out, pair);
  let offset = 0;
  for (const tensor of tensors) {
    out.string(tensor.name);
    out.uint32(tensor.shape.length);
    for (const extent of tensor.shape.toReversed()) out.uint64(extent);
    out.uint32(TENSOR_TYPES[tensor.type]);
    out.uint64(offset);
    offset += roundUp(byteLength(tensor));
  }
  return padded(out.bytes());
}

function writePair(out: ByteWriter, [key, type, value]: GgufPair): void {
  out.string(key);
  const begin = (item: "text" | "i32" | "f32", count: number) => {
    out.uint32(VALUE_TYPES.array);
    out.uint32(VALUE_TYPES[item]);
    out.uint64(count);
  };
  switch (type) {
    case "u32":
      out.uint32(VALUE_TYPES.u32);
      return out.uint32(value);
    case "f32":
      out.uint32(VALUE_TYPES.f32);
      return out.floats([value]);
    case "bool":
      out.uint32(VALUE_TYPES.bool);
      return out.raw(Uint8Array.of(Number(value)));
    case "text":
      out.uint32(VALUE_TYPES.text);
      return out.string(value);
    case "texts":
      begin("text", value.length);
      return value.forEach((text) => out.string(text));
    case "i32s":
      begin("i32", value.length);
      return out.raw(new Uint8Array(Int32Array.from(value).buffer));
    case "f32s":
      begin("f32", value.length);
      return out.floats(value);
  }
}

/** Collects little-endian numbers and strings. */
class ByteWriter {
  readonly #parts: Uint8Array[] = [];

  raw(bytes: Uint8Array): void {
    this.#parts.push(bytes);
  }

  text(text: string): void {
    this.raw(new TextEncoder().encode(text));
  }

  string(text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.uint64(bytes.length);
    this.raw(bytes);
  }

  uint32(value: number): void {
    this.raw(new Uint8Array(Uint32Array.of(value).buffer));
  }

  uint64(value: number): void {
    this.raw(new Uint8Array(BigUint64Array.of(BigInt(value)).buffer));
  }

  floats(values: readonly number[]): void {
    this.raw(new Uint8Array(Float32Array.from(values).buffer));
  }

  bytes(): Uint8Array {
    const out = new Uint8Array(this.#parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }
}

function roundUp(byteLength: number): number {
  return Math.ceil(byteLength / ALIGNMENT) * ALIGNMENT;
}

function padded(bytes: Uint8Array): Uint8Array {
  const length = roundUp(bytes.length);
  if (length === bytes.length) return bytes;
  const out = new Uint8Array(length);
  out.set(bytes);
  return out;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) {
    const written = await file.write(bytes.subarray(at));
    invariant(written > 0, "a file takes at least a byte");
    at += written;
  }
}
