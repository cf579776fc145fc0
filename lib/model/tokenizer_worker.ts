/**
 * What runs in the thread of `tokenizer_thread.ts`: loads a tokenizer and answers one message
 * after the other.
 *
 * @module
 */
import { DeviceError, errorText, FileError, RequestError } from "../errors.ts";
import { tokenCounter } from "./token_counter.ts";
import { loadTokenizer, type Tokenizer } from "./tokenizer.ts";

/** What the thread is asked. */
export type TokenizerTask =
  | { readonly task: "load"; readonly folder: string }
  | { readonly task: "encode"; readonly text: string }
  | { readonly task: "count"; readonly text: string }
  | {
    readonly task: "decode";
    readonly ids: readonly number[];
    readonly skipSpecialTokens: boolean;
  };

/** What it answers. */
export type TokenizerReply =
  | { readonly value: Int32Array | string | number }
  | { readonly kind: ErrorKind; readonly message: string };

/** The classes of errors that keep theirs on the way to the other thread. */
export type ErrorKind = "file" | "request" | "device" | "bug";

/** A message from the thread that works with the tokenizer, and the way back. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<TokenizerTask>) => Promise<void>) | null;
  postMessage(reply: TokenizerReply): void;
}

interface Loaded {
  readonly tokenizer: Tokenizer;
  readonly count: (text: string) => number;
}

let loaded: Promise<Loaded> | undefined;

async function load(folder: string): Promise<Loaded> {
  const tokenizer = await loadTokenizer(folder);
  return { tokenizer, count: tokenCounter(tokenizer) };
}

async function answer(message: TokenizerTask): Promise<Int32Array | string | number> {
  if (message.task === "load") {
    loaded = load(message.folder);
    return (await loaded).tokenizer.vocabularySize;
  }
  if (loaded === undefined) throw new TypeError("Cannot answer as nothing was loaded");
  const { tokenizer, count } = await loaded;
  if (message.task === "encode") return tokenizer.encode(message.text);
  if (message.task === "count") return count(message.text.toWellFormed());
  const { ids, skipSpecialTokens } = message;
  return tokenizer.decode(ids, { skipSpecialTokens });
}

function kindOf(error: unknown): ErrorKind {
  if (error instanceof FileError) return "file";
  if (error instanceof RequestError) return "request";
  return error instanceof DeviceError ? "device" : "bug";
}

const scope = self as unknown as WorkerScope;
scope.onmessage = async ({ data }) => {
  try {
    scope.postMessage({ value: await answer(data) });
  } catch (error) {
    scope.postMessage({ kind: kindOf(error), message: errorText(error) });
  }
};
