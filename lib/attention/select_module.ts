/**
 * A selection of tiles by a module of one's own, loaded by every process that encodes.
 *
 * The module exports `select()`, which chooses tiles in place of XAttention's threshold, or
 * `onSelection()`, which looks at what is chosen, or both.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { errorText, FileError, UsageError } from "../errors.ts";
import { readError } from "../files.ts";
import { optionError, type OptionPlace } from "../options.ts";

/**
 * Reads what a layer's heads have for the rows of a call, from the device and only if asked: copies,
 * which the callee may change. It can be used until the promise of the hook has settled.
 */
export interface SelectionReader {
  /** Query heads. */
  readonly heads: number;
  /** Query heads for each key head: heads `n * group` to `n * group + group - 1` share keys. */
  readonly group: number;
  /** Numbers of a query and of a key. */
  readonly headDim: number;
  /** The factor of the logits. */
  readonly scale: number;
  /** [queries, headDim] of a query head, after RoPE: 128 for each row, the last one maybe fewer. */
  queries(head: number): Promise<Float32Array<ArrayBuffer>>;
  /** [keys, headDim] that a query head sees, column by column; those that a window dropped are 0. */
  keys(head: number): Promise<Float32Array<ArrayBuffer>>;
  /** [rows, columns]: the antidiagonal mass of a query head. */
  mass(head: number): Promise<Float32Array<ArrayBuffer>>;
  /**
   * [rows, columns]: the softmax's weights of a tile's queries on its keys, added up, of a query head.
   * Costs exact attention twice.
   */
  exactMass(head: number): Promise<Float32Array<ArrayBuffer>>;
}

/** Some rows of tiles of one query head in one layer, with the keys that they may see. */
export interface SelectionInfo {
  /** The layer, from 0 on. */
  readonly layer: number;
  /** The query head, from 0 on. */
  readonly head: number;
  /** Star Attention's block, from 0 on; 0 where the context is not cut into blocks. */
  readonly block: number;
  /** Rows of tiles: 128 queries each, the last one maybe fewer. A block comes in several calls. */
  readonly rows: number;
  /** Columns of tiles: 128 keys each, up to the last row's own. */
  readonly columns: number;
  /** The column of the first row's own tile: row r sees the columns 0 to `diagonal` + r. */
  readonly diagonal: number;
  /** The first columns that are the anchor's, in front of the block's own; 0 without an anchor. */
  readonly anchorColumns: number;
  /** The run's threshold, or this head's where each has its own. */
  readonly threshold: number;
  /** [rows, columns], 1 where XAttention selects; the callee may change and return it. */
  readonly tiles: Uint8Array<ArrayBuffer>;
  /** Queries, keys and masses of the layer's heads. */
  readonly reader: SelectionReader;
}

/** What is computed of some rows of tiles. */
export interface SelectionEvent extends Omit<SelectionInfo, "tiles"> {
  /** [rows, columns], 1 where the tile is computed. */
  readonly tiles: Uint8Array<ArrayBuffer>;
  /** [rows, columns]: the antidiagonal mass of each tile, 0 behind the diagonal. */
  readonly mass: Float32Array<ArrayBuffer>;
}

/** What a module may export. */
export interface SelectionHooks {
  /**
   * Chooses tiles. It must give the same for the same rows, however they are dealt to calls and
   * processes. A row's own tile is computed always; those behind it, or before a layer's window, never.
   *
   * @param mass [rows, columns]: the antidiagonal mass of each tile (XAttention, arXiv 2503.16428,
   * section 2.1): shares of a row, 0 behind the diagonal.
   * @param info Where the rows lie.
   * @returns [rows, columns]: not 0 where a tile is to be computed.
   */
  readonly select?:
    | ((mass: Float32Array<ArrayBuffer>, info: SelectionInfo) => Uint8Array | Promise<Uint8Array>)
    | undefined;
  /** Looks at what is computed; what it returns is waited for. */
  readonly onSelection?: ((event: SelectionEvent) => void | Promise<void>) | undefined;
}

/** A module with its text's digest, so that all processes run the same one. */
export interface SelectModule {
  /** A `file:` URL. */
  readonly url: string;
  /** SHA-256 of the module's own text; what it imports is not looked at. */
  readonly sha256: string;
}

/**
 * Reads a module's digest.
 *
 * @param value A path, a `file:` URL, or what came of one before.
 * @throws {UsageError} If it is none of these.
 * @throws {FileError} If the file cannot be read.
 */
export function selectModuleOf(
  place: OptionPlace,
  value: string | URL | SelectModule,
): SelectModule {
  if (typeof value === "object" && !(value instanceof URL)) {
    if (typeof value?.url === "string" && typeof value.sha256 === "string") return value;
  } else if (value instanceof URL || typeof value === "string") {
    const url = value instanceof URL || /^[a-z][a-z0-9+.-]+:/i.test(value)
      ? URL.parse(String(value))
      : pathToFileURL(resolve(value));
    if (url?.protocol === "file:") return { url: url.href, sha256: digestOf(url) };
  }
  throw optionError(place, { rule: "a file of a module", value: describeValue(value) });
}

function describeValue(value: unknown): unknown {
  return value instanceof URL ? value.href : value;
}

function digestOf(url: URL): string {
  try {
    return createHash("sha256").update(Deno.readFileSync(url)).digest("hex");
  } catch (error) {
    throw readError(fileURLToPath(url), error);
  }
}

/** The hooks of a module, for whoever selects tiles. */
export interface LoadedHooks extends SelectionHooks {
  /** The module's file, for messages. */
  readonly name: string;
}

/**
 * Loads a module.
 *
 * @throws {FileError} If it is not the one that was read before, or cannot be loaded.
 * @throws {UsageError} If it exports no function of these names.
 */
export async function loadSelectModule(module: SelectModule): Promise<LoadedHooks> {
  const name = fileURLToPath(module.url);
  const sha256 = digestOf(new URL(module.url));
  if (sha256 !== module.sha256) {
    throw new FileError(
      `Cannot load ${name} as its SHA-256 must be that of the run, ${module.sha256}: ` +
        `current value is ${sha256}`,
    );
  }
  const exported: Record<string, unknown> = await import(module.url).catch((error) => {
    throw new FileError(`Cannot load ${name}: ${errorText(error)}`, { cause: error });
  });
  const { select, onSelection } = exported;
  for (const [key, value] of Object.entries({ select, onSelection })) {
    if (value === undefined || typeof value === "function") continue;
    throw new UsageError(`Cannot use ${name} as its export '${key}' must be a function`);
  }
  if (select === undefined && onSelection === undefined) {
    throw new UsageError(`Cannot use ${name} as it must export select() or onSelection()`);
  }
  return { ...exported as SelectionHooks, name };
}
