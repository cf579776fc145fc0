/**
 * Brings a weight from its file into a tensor that is there, in whatever dtype both are.
 *
 * @module
 */
import { elementsToFloats } from "../device/elements.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { convert } from "../ops/convert.ts";
import type { WeightSpec } from "./model_shape.ts";
import type { WeightFiles } from "./weight_files.ts";
import { decodeRows, needsDecoding } from "./weight_decode.ts";
import { findWeight, type FoundWeight } from "./weight_lookup.ts";

/**
 * Copies one weight, and converts it on the device where the file has another dtype.
 *
 * @throws {FileError} If it is missing, or is not what the config says.
 * @throws {KernelError} If there is not enough memory.
 */
export async function fillWeight(
  out: Tensor,
  task: { files: WeightFiles; spec: WeightSpec; folder: string },
): Promise<void> {
  const { files, spec, folder } = task;
  const found = findWeight(files, { spec, folder });
  if (needsDecoding(found)) return await fillDecoded(out, found, spec.scale ?? 1);
  const { entry, dtype } = found;
  invariant(dtype !== "q8_0" && dtype !== "i8" && dtype !== "f8e4m3", "8-bit numbers are decoded");
  const bytes = entry.file.bytes.subarray(entry.begin, entry.end);
  if (dtype === "f64" || spec.scale !== undefined) {
    const { scale = 1 } = spec;
    const floats = dtype === "f64" ? readDoubles(bytes) : elementsToFloats(bytes.slice(), dtype);
    return await out.writeFrom(floats.map((value) => value * scale));
  }
  if (dtype === out.dtype) return await out.writeFrom(bytes);
  const { device } = out;
  using raw = Tensor.allocate(device, { dtype, shape: spec.shape, label: spec.name });
  await raw.writeFrom(bytes);
  await convert(device, { out, in: raw });
}

async function fillDecoded(out: Tensor, found: FoundWeight, scale: number): Promise<void> {
  using owned = new DisposableStack();
  let raw: Tensor | undefined;
  for (const { start, count, dtype, bytes } of decodeRows(found)) {
    const rows = out.rows(start, count);
    if (scale !== 1) {
      await rows.writeFrom(elementsToFloats(bytes, dtype).map((value) => value * scale));
    } else if (dtype === rows.dtype) {
      await rows.writeFrom(bytes);
    } else {
      // The first stretch is the longest one.
      const { device, shape, label } = rows;
      raw ??= owned.use(Tensor.allocate(device, { dtype, shape, label }));
      const source = raw.rows(0, count);
      await source.writeFrom(bytes);
      await convert(device, { out: rows, in: source });
    }
  }
}

/** Doubles rounded to f32, from bytes at any address. */
function readDoubles(bytes: Uint8Array): Float32Array<ArrayBuffer> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from(
    { length: bytes.byteLength / 8 },
    (_, i) => view.getFloat64(8 * i, true),
  );
}
