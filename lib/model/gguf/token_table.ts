/**
 * A GGUF file's table of tokens.
 *
 * @module
 */
import { FileError } from "../../errors.ts";

/** Kinds of tokens, as in `llama.h`. */
export const TOKEN_TYPES = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** The tokens of a file. */
export interface TokenTable {
  readonly path: string;
  /** By id. */
  readonly texts: readonly string[];
  /** One of {@linkcode TOKEN_TYPES}, by id. */
  readonly types: readonly number[];
  /** Ids by text; unused tokens, which fill a table up, have none. */
  readonly ids: ReadonlyMap<string, number>;
}

/** The error about tables that no tokenizer can be made of. */
export function refuseTables(path: string, reason: string): FileError {
  return new FileError(
    `Cannot load the tokenizer of ${path} as ${reason} (the model's tokenizer.json beside the file ` +
      "is taken in its place)",
  );
}
