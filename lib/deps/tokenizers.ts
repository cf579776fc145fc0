/**
 * Hugging Face's tokenizers, compiled to WebAssembly: the only module that names the package.
 *
 * @module
 */
import { createRequire } from "node:module";
import { DeviceError, errorText } from "../errors.ts";

const PACKAGE = "@mlc-ai/web-tokenizers@0.1.6";

/** A tokenizer of the package. Memory outside of JavaScript: dispose of it. */
export interface WasmTokenizer {
  /** Ids of a text, the special tokens in it recognized. */
  encode(text: string): Int32Array;
  decode(ids: Int32Array): string;
  getVocabSize(): number;
  idToToken(id: number): string;
  dispose(): void;
}

interface Package {
  Tokenizer: { fromJSON(json: ArrayBuffer): Promise<WasmTokenizer> };
}

/** What the package said since it was last asked. */
const complaints: string[] = [];

/**
 * Why the package gave up, in its own words; it prints several lines, then ends with a WebAssembly
 * trap that says nothing.
 *
 * @returns The reason since the last call, `undefined` without one.
 */
export function takeComplaint(): string | undefined {
  const text = complaints.splice(0).join("\n");
  const [, reason] =
    /\bErr` value: (?:Error\(")?(.*?)(?:", line: \d+, column: \d+\))?$/m.exec(text) ??
      /panicked at [^\n]*:\n([^\n]+)/.exec(text) ?? [];
  return reason;
}

/** What the package asks for by name while it loads and starts, and what stands for it. */
function lentNames(): Record<string, unknown> {
  return {
    // Any file URL does: only Node's own modules are asked for.
    require: createRequire("file:///x.js"),
    __filename: "/x.js",
    __dirname: "/",
    // In a thread it would take the thread's own address for a file.
    document: { currentScript: { tagName: "SCRIPT", src: "file:///x.js" } },
    TextDecoder: KeepingDecoder,
  };
}

/** Keeps a byte order mark at a text's start: a model may generate one. */
class KeepingDecoder extends TextDecoder {
  constructor(label?: string, options: TextDecoderOptions = {}) {
    super(label, { ...options, ignoreBOM: true });
  }
}

/** Runs with the names that the package asks for, and with what it complains of kept. */
async function lending<T>(run: (globals: Record<string, unknown>) => Promise<T>): Promise<T> {
  const globals = globalThis as unknown as Record<string, unknown>;
  const lent = lentNames();
  const before = Object.keys(lent).map((name) => [name, globals[name]] as const);
  Object.assign(globals, lent);
  // The package takes the function for error messages when it starts, and keeps it.
  const output = globals.console as { error: (...texts: unknown[]) => void };
  const { error: printError } = output;
  output.error = (...texts) => void complaints.push(texts.join(" "));
  complaints.length = 0;
  try {
    return await run(globals);
  } finally {
    output.error = printError;
    for (const [name, value] of before) {
      if (value === undefined) delete globals[name];
      else globals[name] = value;
    }
  }
}

/**
 * Loads the package, from Deno's cache or from the network. It is UMD for browsers and CommonJS: it
 * leaves its exports on the global object.
 *
 * @throws {DeviceError} If it cannot be had.
 */
export async function loadWasmTokenizers(): Promise<void> {
  await lending(async (globals) => {
    if (globals.tokenizers !== undefined) return;
    try {
      await import("npm:@mlc-ai/web-tokenizers@0.1.6");
    } catch (error) {
      throw new DeviceError(
        `Cannot load the npm package ${PACKAGE}, which is neither in Deno's cache nor to be had ` +
          `from the network (${errorText(error)}): run 'deno task cache' where there is a ` +
          "network, and copy that machine's DENO_DIR here (docs/offline.md)",
        { cause: error },
      );
    }
  });
}

/**
 * Makes a tokenizer from the text of a `tokenizer.json`. Each file that the package gives up on costs
 * it some of its stack: a process can have some dozens of them refused.
 *
 * @param json UTF-8 bytes; checked before, as the package aborts on some mistakes.
 */
export async function wasmTokenizer(json: ArrayBuffer): Promise<WasmTokenizer> {
  return await lending(async (globals) =>
    await (globals.tokenizers as Package).Tokenizer.fromJSON(json)
  );
}
