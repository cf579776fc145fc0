/**
 * Reads and writes files of weights.
 *
 * @module
 */
import type { TensorHeader, WeightsFile } from "../../scripts/torture/fuzz_model.ts";

/** A tensor to be written. */
export interface TensorBytes extends Omit<TensorHeader, "data_offsets"> {
  readonly bytes: Uint8Array;
}

/** The two parts of a file. */
export async function readWeights(path: string): Promise<WeightsFile> {
  const bytes = await Deno.readFile(path);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const { __metadata__: _, ...header } = JSON.parse(
    new TextDecoder().decode(bytes.subarray(8, 8 + length)),
  );
  return { header, data: bytes.slice(8 + length) };
}

/** Writes a file with tensors by their names. */
export async function writeWeights(
  path: string,
  tensors: ReadonlyMap<string, TensorBytes>,
): Promise<void> {
  const header: Record<string, TensorHeader> = {};
  let end = 0;
  for (const [name, { dtype, shape, bytes }] of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  const parts = [...tensors.values()].map(({ bytes }) => bytes.slice());
  await Deno.writeFile(path, new Blob([length, text, ...parts]).stream());
}
