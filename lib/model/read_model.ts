/**
 * The shape of a model: what its configuration says, and what its weights say otherwise.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { ModelShape } from "./model_shape.ts";
import { type ConfigOptions, readConfig } from "./config.ts";
import type { WeightEntry } from "./weight_entry.ts";
import { openWeightFiles } from "./weight_files.ts";
import { entryNamed } from "./weight_lookup.ts";

const HEAD = "lm_head.weight";

/**
 * Reads the configuration, and looks for a head beside an embedding that it is said to be tied to:
 * where the two differ, the file's is taken, as transformers 5 does, and a warning says so.
 *
 * @param folder Holds `config.json` and the weights; or a GGUF file.
 * @throws {FileError} As `readConfig()` and `openWeightFiles()`.
 */
export async function readModel(
  folder: string,
  options: ConfigOptions = {},
): Promise<ModelShape> {
  const model = await readConfig(folder, options);
  if (model.head.name === HEAD) return model;
  using files = await openWeightFiles(folder);
  const head = files.entries.get(HEAD);
  const embedding = entryNamed(files, model.embedding.name);
  if (head === undefined) return model;
  // Of two names for one tensor a file may have kept this one.
  if (embedding === undefined) {
    const shared = { ...model.embedding, name: HEAD };
    return { ...model, embedding: shared, head: shared };
  }
  if (isSame(head, embedding)) return model;
  const warning = `${head.path} has an ${HEAD} other than the embedding, which ` +
    "'tie_word_embeddings' in config.json calls the same: the file's is taken";
  return {
    ...model,
    head: { name: HEAD, shape: model.embedding.shape },
    warnings: [...model.warnings, warning],
  };
}

function isSame(a: WeightEntry, b: WeightEntry): boolean {
  if (a.dtype !== b.dtype || String(a.shape) !== String(b.shape)) return false;
  const bytesOf = ({ file, begin, end }: WeightEntry) => file.bytes.subarray(begin, end);
  return Buffer.compare(bytesOf(a), bytesOf(b)) === 0;
}
