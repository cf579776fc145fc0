/**
 * Opens the weight files of a model: one `model.safetensors`, or the shards that
 * `model.safetensors.index.json` lists, as transformers lays them out; or one GGUF file, or several.
 *
 * The files are mapped, so that worker processes share one copy, and only pages that are used are
 * read. A file that is truncated before it is opened is refused here; one that somebody cuts while
 * it is mapped ends the process by SIGBUS, which no check can prevent.
 *
 * @module
 */
import { join } from "node:path";
import { FileError } from "../errors.ts";
import { MappedGuard } from "../ffi/mapped_guard.ts";
import { copyFile, mapFile, type MappedFile } from "../ffi/memory.ts";
import { listFolder, readError } from "../files.ts";
import { isGgufPath, listGgufFiles } from "./gguf/files.ts";
import { ggufEntries, type GgufPart } from "./gguf/weights.ts";
import type { EightBits } from "./precision.ts";
import { parseSafetensors } from "./safetensors.ts";
import type { WeightEntry } from "./weight_entry.ts";
import { describeValue, isJsonObject, readJsonFile } from "../text_file.ts";

const SINGLE_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";
const MAX_INDEX_BYTES = 100_000_000;

/** Which files hold a model's weights. */
export interface WeightFileList {
  /** In the order of their names. */
  readonly paths: readonly string[];
  /** The file of each tensor by its name; `undefined` for a single file. */
  readonly pathOfTensor: ReadonlyMap<string, string> | undefined;
}

/** The mapped weight files of a model. Disposing it unmaps them. */
export interface WeightFiles extends Disposable {
  readonly paths: readonly string[];
  /** All tensors by name. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** What says the shapes, for messages. */
  readonly shapeSource: "config.json" | "metadata";
  /** What matrices may have of 8 bits, as the configuration says. */
  readonly stored: EightBits | undefined;
  /** What the files call a tensor, for messages. */
  ownName(name: string): string;
}

/**
 * Finds the weight files of a model folder; `model.safetensors` wins over an index.
 *
 * @param folder The model folder, or a GGUF file.
 * @returns The files; whether a shard exists is not checked.
 * @throws {FileError} If there is neither file, or the index is damaged or names a file outside
 * the folder.
 */
export async function listWeightFiles(folder: string): Promise<WeightFileList> {
  if (isGgufPath(folder)) {
    return { paths: await listGgufFiles(folder), pathOfTensor: undefined };
  }
  const single = join(folder, SINGLE_FILE);
  if (await exists(single)) return { paths: [single], pathOfTensor: undefined };
  const index = join(folder, INDEX_FILE);
  if (!(await exists(index))) {
    const other = await otherWeights(folder);
    const hint = other === undefined
      ? ""
      : isGgufPath(other)
      ? `: a GGUF file is given by its own path, ${join(folder, other)}`
      : `: ${other} is of another format, which transformers' save_pretrained() converts`;
    throw new FileError(
      `Cannot read the model as ${folder} holds neither ${SINGLE_FILE} nor ${INDEX_FILE}${hint}`,
    );
  }
  const pathOfTensor = await readIndex(index, folder);
  return { paths: [...new Set(pathOfTensor.values())].sort(), pathOfTensor };
}

/**
 * Maps the weight files of a model and checks every header.
 *
 * @param folder The model folder, or a GGUF file.
 * @param options With `copy`, the files are read into memory instead of being mapped. `stored`: what
 * matrices may have of 8 bits.
 * @returns The files; their owner disposes them.
 * @throws {FileError} As {@linkcode listWeightFiles}, `parseSafetensors()` and `ggufEntries()`, and if a
 * shard is missing or lacks a tensor that the index places there.
 */
export async function openWeightFiles(
  folder: string,
  options: { copy?: boolean | undefined; stored?: EightBits | undefined } = {},
): Promise<WeightFiles> {
  const { paths, pathOfTensor } = await listWeightFiles(folder);
  using stack = new DisposableStack();
  const entries = new Map<string, WeightEntry>();
  const guard = options.copy === true ? undefined : stack.use(await MappedGuard.open());
  const parts = paths.map((path) => {
    const file = stack.use(options.copy === true ? copyFile(path) : mapFile(path));
    guard?.add({ address: file.pointer, byteLength: file.byteLength, path });
    return { path, file };
  });
  if (isGgufPath(folder)) return ggufWeights(parts, stack.move());
  const elsewhere: WeightEntry[] = [];
  for (const { path, file } of parts) {
    for (const entry of locate(file, path)) {
      const named = pathOfTensor?.get(entry.name) ?? path;
      if (named === path) entries.set(entry.name, entry);
      else elsewhere.push(entry);
    }
  }
  // transformers loads all that the shards have: an index of another sharding does no harm.
  for (const entry of elsewhere) if (!entries.has(entry.name)) entries.set(entry.name, entry);
  for (const [name, path] of pathOfTensor ?? []) {
    if (entries.has(name) || isBuffer(name)) continue;
    throw new FileError(
      `Cannot read the model as ${path} must hold tensor ${describeValue(name)}, ` +
        `which ${join(folder, INDEX_FILE)} places there: it is missing`,
    );
  }
  const owned = stack.move();
  return {
    paths,
    entries,
    shapeSource: "config.json",
    stored: options.stored,
    ownName: (name) => name,
    [Symbol.dispose]: () => owned.dispose(),
  };
}

/**
 * Whether a tensor is computed from the configuration, as old models' `rotary_emb.inv_freq`: converted
 * shards lack them, while the index may be the old one.
 */
function isBuffer(name: string): boolean {
  return /(^|\.)(inv_freq|position_ids|masked_bias|attn\.bias)$/.test(name);
}

/** @param owned The mappings, disposed of here if they cannot be used. */
function ggufWeights(parts: readonly GgufPart[], owned: DisposableStack): WeightFiles {
  using stack = owned;
  const { entries, ownName } = ggufEntries(parts);
  const kept = stack.move();
  return {
    paths: parts.map(({ path }) => path),
    entries,
    shapeSource: "metadata",
    stored: undefined,
    ownName,
    [Symbol.dispose]: () => kept.dispose(),
  };
}

/** A file of weights in another format, if there is one. */
async function otherWeights(folder: string): Promise<string | undefined> {
  const names = (await listFolder(folder)).map(({ name }) => name).sort();
  return names.find((name) => /\.(bin|pth|pt|gguf|msgpack|h5)$/.test(name));
}

function locate(file: MappedFile, path: string): WeightEntry[] {
  const { pointer } = file;
  return [...parseSafetensors(file.bytes, { path }).values()].map((entry) => ({
    ...entry,
    path,
    file,
    address: pointer + BigInt(entry.begin),
  }));
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw readError(path, error);
  }
}

async function readIndex(index: string, folder: string): Promise<ReadonlyMap<string, string>> {
  const content = await readJsonFile(index, { maxBytes: MAX_INDEX_BYTES });
  const map = isJsonObject(content) ? content.weight_map : content;
  if (!isJsonObject(map)) {
    throw new FileError(
      `Cannot read ${index} as 'weight_map' must be an object: current value is ${
        describeValue(map)
      }`,
    );
  }
  const pathOfTensor = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    // A shard lies in the folder itself: an index must not lead anywhere else on the disk.
    if (typeof shard !== "string" || !/^[^/\\\0]+\.safetensors$/.test(shard)) {
      throw new FileError(
        `Cannot read ${index} as the shard of tensor ${describeValue(name)} must be a plain ` +
          `name that ends in .safetensors: current value is ${describeValue(shard)}`,
      );
    }
    pathOfTensor.set(name, join(folder, shard));
  }
  return pathOfTensor;
}
