/**
 * The tensors of a mapped GGUF file under the names that a family's folder gives them.
 *
 * @module
 */
import { FileError, invariant } from "../../errors.ts";
import type { MappedFile } from "../../ffi/memory.ts";
import { describeValue } from "../../text_file.ts";
import type { RowPairs, WeightEntry } from "../weight_entry.ts";
import { architectureOf, familyName, fileName, type GgufArchitecture } from "./architectures.ts";
import { checkPart } from "./files.ts";
import { type GgufHeader, type GgufTensor, locateTensors, parseGguf } from "./header.ts";
import type { GgufMetadata } from "./metadata.ts";

/** A mapped file of a model. */
export interface GgufPart {
  readonly path: string;
  readonly file: MappedFile;
}

/** The tensors of a model's files. */
export interface GgufEntries {
  /** By the family's names. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** What the files call a tensor. */
  readonly ownName: (name: string) => string;
}

/**
 * Finds the tensors of a model's mapped files.
 *
 * @param parts The files, the one with the metadata first.
 * @throws {FileError} If a file is damaged, or has a tensor that is not read.
 */
export function ggufEntries(parts: readonly GgufPart[]): GgufEntries {
  const [first] = parts;
  invariant(first !== undefined, "a model has a file");
  const { metadata } = headerOf(first.file.bytes, first.path);
  const architecture = architectureOf(metadata);
  const entries = new Map<string, WeightEntry>();
  for (const [index, { path, file }] of parts.entries()) {
    const header = headerOf(file.bytes, path);
    checkPart(header, { index, count: parts.length });
    for (const tensor of locateTensors(header)) {
      const name = familyName(tensor.name, { architecture, path });
      if (name === undefined) continue;
      if (entries.has(name)) {
        throw new FileError(
          `Cannot read ${path} as a tensor must stand once in all of the model's files: ` +
            `${describeValue(tensor.name)} stands twice`,
        );
      }
      const { dtype, shape, begin, end } = tensor;
      const rowPairs = rowPairsOf(tensor, { architecture, metadata });
      const address = file.pointer + BigInt(begin);
      const place = { path, file, address, begin, end };
      entries.set(name, { name, dtype, shape, ...place, ...rowPairs });
    }
  }
  return { entries, ownName: (name) => fileName(name, architecture) };
}

function headerOf(bytes: Uint8Array, path: string): GgufHeader {
  const header = parseGguf(bytes, { path });
  if (header !== undefined) return header;
  throw new FileError(`Cannot read ${path}: its header is longer than the file`);
}

/** How the rows of queries and keys are ordered, where that is not as in the family's folder. */
function rowPairsOf(
  tensor: GgufTensor,
  context: { architecture: GgufArchitecture; metadata: GgufMetadata },
): { rowPairs?: RowPairs } {
  const { architecture, metadata } = context;
  const [, part] = /^blk\.\d+\.attn_([qk])\./.exec(tensor.name) ?? [];
  if (!architecture.hasRowPairs || part === undefined) return {};
  const key = (name: string) => `${architecture.name}.attention.${name}`;
  const queryHeads = metadata.required(key("head_count"));
  const heads = part === "q" ? queryHeads : metadata.number(key("head_count_kv")) ?? queryHeads;
  const [rows = 0] = tensor.shape;
  const headDim = rows / heads;
  if (Number.isInteger(headDim) && headDim % 2 === 0) return { rowPairs: { headDim } };
  throw new FileError(
    `Cannot read ${metadata.path} as tensor ${
      describeValue(tensor.name)
    } must have an even number ` +
      `of rows for each of its ${heads} heads: current value is ${rows} rows`,
  );
}
