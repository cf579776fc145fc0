/**
 * Weights that were rounded to 8 bits, kept beside the model for the next time: then they are mapped,
 * and all processes share one copy.
 *
 * The file has the form of safetensors: panels as `Int8Matrix` has them, and scales. Its metadata has the
 * digest of the model that it was made of; a file with another one counts as absent and is replaced. It
 * gets its name when it is whole and on disk, so that two runs may make it at once. Of a run's processes
 * the first one writes it; until then it lies in a folder of its own, so that this process needs to write
 * to two paths alone.
 *
 * @module
 */
import { join } from "node:path";
import type { Device } from "../device/device.ts";
import { Int8Matrix, type Int8MatrixOptions, int8Parts } from "../device/int8_matrix.ts";
import { Tensor } from "../device/tensor.ts";
import { FileError } from "../errors.ts";
import { MappedGuard } from "../ffi/mapped_guard.ts";
import { mapFile, type MappedFile } from "../ffi/memory.ts";
import { isFile, renameFile, writeError } from "../files.ts";
import { isJsonObject } from "../text_file.ts";
import { isGgufPath } from "./gguf/files.ts";
import { parseSafetensors, type SafetensorsDtype, type TensorEntry } from "./safetensors.ts";

/** Raised when the rounding or the order of panels changes. */
const FORM = "starx int8 1";
/** What begins with it is aligned for every vector. */
const ALIGNMENT = 64;
const LENGTH_BYTES = 8;
/** Each removal is the end of another run that kept the same weights. */
const MOST_REMOVALS = 1_000;
const DTYPES = { i8: "I8", f32: "F32" } as const satisfies Record<string, SafetensorsDtype>;

/** Where a model's weights of 8 bits are kept. @param folder The model's, or a GGUF file. */
export function keptPath(folder: string): string {
  return isGgufPath(folder) ? `${folder}.int8.starx` : join(folder, "weights.int8.starx");
}

/** What a process has to be able to write to keep weights: the file, and the folder where it is made. */
export function keptPaths(folder: string): readonly [file: string, making: string] {
  const path = keptPath(folder);
  return [path, `${path}.tmp`];
}

/** Whether this process may write there. */
export function mayKeepWeights(folder: string): boolean {
  return keptPaths(folder).every((path) =>
    Deno.permissions.querySync({ name: "write", path }).state === "granted"
  );
}

/** A file of kept weights, mapped. Disposing it unmaps it. */
export class KeptWeights implements Disposable {
  readonly #file: MappedFile;
  readonly #entries: ReadonlyMap<string, TensorEntry>;
  readonly #owned: DisposableStack;

  private constructor(
    file: MappedFile,
    parts: { entries: ReadonlyMap<string, TensorEntry>; owned: DisposableStack },
  ) {
    this.#file = file;
    this.#entries = parts.entries;
    this.#owned = parts.owned;
  }

  /**
   * Opens a model's file.
   *
   * @param digest The model's.
   * @returns Undefined if there is none, or it is another model's or damaged.
   */
  static async open(folder: string, digest: string): Promise<KeptWeights | undefined> {
    const path = keptPath(folder);
    if (!(await isFile(path))) return undefined;
    using stack = new DisposableStack();
    try {
      const file = stack.use(mapFile(path));
      const guard = stack.use(await MappedGuard.open());
      guard.add({ address: file.pointer, byteLength: file.byteLength, path });
      const entries = parseSafetensors(file.bytes, { path });
      const { form, model } = metadataOf(file.bytes);
      if (form !== FORM || model !== digest) return undefined;
      return new KeptWeights(file, { entries, owned: stack.move() });
    } catch (error) {
      if (error instanceof FileError) return undefined;
      throw error;
    }
  }

  /** A matrix where it lies in the file; undefined if it is not there. */
  matrix(device: Device, options: Int8MatrixOptions): Int8Matrix | undefined {
    const { panels, scales } = int8Parts(options);
    const [numbers, factors] = [this.#tensor(device, panels), this.#tensor(device, scales)];
    if (numbers === undefined || factors === undefined) return undefined;
    return new Int8Matrix({ shape: options.shape, panels: numbers, scales: factors });
  }

  #tensor(
    device: Device,
    part: { dtype: "i8" | "f32"; shape: readonly number[]; label: string },
  ): Tensor | undefined {
    const { dtype, shape, label } = part;
    const entry = this.#entries.get(label);
    if (entry?.dtype !== DTYPES[dtype] || String(entry.shape) !== String(shape)) return undefined;
    const keepAlive = this.#file;
    const address = keepAlive.pointer + BigInt(entry.begin);
    return Tensor.foreign(device, { dtype, shape, label, address, keepAlive });
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** What the writer said of the file; empty strings if it was another writer. */
function metadataOf(bytes: Uint8Array): { form: string; model: string } {
  const length = Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true));
  const text = new TextDecoder().decode(bytes.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
  const { __metadata__: metadata } = JSON.parse(text);
  const { form = "", model = "" } = isJsonObject(metadata) ? metadata : {};
  return { form: String(form), model: String(model) };
}

/**
 * Writes the file of a model.
 *
 * @param model `digest`: the model's. `matrices`: all that have 8 bits.
 * @throws {FileError} If it cannot be written; no part of it stays.
 */
export async function keepWeights(
  folder: string,
  model: { digest: string; matrices: readonly Int8Matrix[] },
): Promise<void> {
  const [path, making] = keptPaths(folder);
  // Panels first, whose lengths are whole lines of a cache.
  const tensors = [
    ...model.matrices.map(({ panels }) => panels),
    ...model.matrices.map(({ scales }) => scales),
  ];
  const temporary = join(making, crypto.randomUUID());
  try {
    {
      using file = await createIn(making, temporary);
      await writeAll(file, headerOf(tensors, model.digest));
      for (const tensor of tensors) await writeAll(file, tensor.hostBytes());
      await file.sync();
    }
    await renameFile(temporary, path);
  } catch (error) {
    await Deno.remove(temporary).catch(() => {});
    throw writeError(path, error);
  } finally {
    // Not while another run makes its own there.
    await Deno.remove(making).catch(() => {});
  }
}

/** Creates a file in a folder that another run, which has just ended, may remove meanwhile. */
async function createIn(folder: string, path: string): Promise<Deno.FsFile> {
  for (let left = MOST_REMOVALS;; left--) {
    await Deno.mkdir(folder, { recursive: true });
    try {
      return await Deno.open(path, { write: true, createNew: true });
    } catch (error) {
      if (left === 0 || !(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function headerOf(tensors: readonly Tensor[], digest: string): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { form: FORM, model: digest } };
  let end = 0;
  for (const { dtype, label, shape, byteLength } of tensors) {
    const begin = end;
    end += byteLength;
    header[label] = {
      dtype: dtype === "i8" ? DTYPES.i8 : DTYPES.f32,
      shape,
      data_offsets: [begin, end],
    };
  }
  const text = JSON.stringify(header);
  const used = LENGTH_BYTES + new TextEncoder().encode(text).byteLength;
  const bytes = new TextEncoder().encode(
    text + " ".repeat((ALIGNMENT - used % ALIGNMENT) % ALIGNMENT),
  );
  const all = new Uint8Array(LENGTH_BYTES + bytes.byteLength);
  new DataView(all.buffer).setBigUint64(0, BigInt(bytes.byteLength), true);
  all.set(bytes, LENGTH_BYTES);
  return all;
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += await file.write(bytes.subarray(at));
}
