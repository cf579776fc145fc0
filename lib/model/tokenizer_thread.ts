/**
 * A tokenizer in a thread of its own, so that a long text, or a `tokenizer.json` that makes the
 * library take for ever, keeps nobody from hearing a signal.
 *
 * @module
 */
import { DeviceError, FileError, RequestError } from "../errors.ts";
import { tokenizerPath } from "./model_paths.ts";
import type { TextTokenizer } from "./tokenizer.ts";
import type { ErrorKind, TokenizerReply, TokenizerTask } from "./tokenizer_worker.ts";

/** How long the thread may take. */
export interface TokenizerLimits {
  /**
   * For a task of any size, in milliseconds.
   *
   * @default {60_000}
   */
  readonly baseMs?: number;
  /**
   * For each MiB of text, or of `tokenizer.json`, in milliseconds; a real tokenizer takes a second or
   * four.
   *
   * @default {60_000}
   */
  readonly msPerMib?: number;
}

const DEFAULT_LIMITS: Required<TokenizerLimits> = { baseMs: 60_000, msPerMib: 60_000 };
const MIB = 2 ** 20;
/** Ids are spelled by tokens of a few bytes each. */
const BYTES_PER_ID = 8;

/** A tokenizer in another thread. Its disposal ends the thread. */
export interface ThreadTokenizer extends TextTokenizer, Disposable {
  encode(text: string): Promise<Int32Array>;
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): Promise<string>;
  /** Faster than the tokenizer's own `count()` for texts that have pieces in common. */
  count(text: string): Promise<number>;
}

/**
 * Loads a tokenizer in a thread of its own.
 *
 * @param folder As for `loadTokenizer()`.
 * @param limits How long the thread may take before it is ended.
 * @throws {FileError} As `loadTokenizer()`, and if it takes too long.
 * @throws {DeviceError} If the tokenizers' library cannot be had.
 */
export async function openTokenizerThread(
  folder: string,
  limits: TokenizerLimits = {},
): Promise<ThreadTokenizer> {
  const thread = new Thread(folder, { ...DEFAULT_LIMITS, ...limits });
  try {
    await thread.load();
    return thread;
  } catch (error) {
    thread[Symbol.dispose]();
    throw error;
  }
}

class Thread implements ThreadTokenizer {
  readonly #folder: string;
  /** Where the tokenizer lies. */
  #path: string;
  readonly #limits: Required<TokenizerLimits>;
  #worker: Worker | undefined;
  /** One task after the other, so that each has its own time. */
  #last: Promise<unknown> = Promise.resolve();
  /** Ends the task in work when the thread is disposed of. */
  #abort: (() => void) | undefined;
  #disposed = false;

  constructor(folder: string, limits: Required<TokenizerLimits>) {
    this.#folder = folder;
    this.#path = folder;
    this.#limits = limits;
  }

  async load(): Promise<void> {
    await this.#inTurn(() => this.#start());
  }

  async encode(text: string): Promise<Int32Array> {
    const value = await this.#ask({ task: "encode", text }, text.length);
    if (value instanceof Int32Array) return value;
    throw new TypeError("Cannot use the thread's answer as ids are expected");
  }

  async decode(
    ids: readonly number[],
    options: { skipSpecialTokens?: boolean } = {},
  ): Promise<string> {
    const skipSpecialTokens = options.skipSpecialTokens === true;
    return String(
      await this.#ask({ task: "decode", ids, skipSpecialTokens }, ids.length * BYTES_PER_ID),
    );
  }

  async count(text: string): Promise<number> {
    return Number(await this.#ask({ task: "count", text }, text.length));
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#end();
    this.#abort?.();
  }

  #ask(task: TokenizerTask, bytes: number): Promise<Int32Array | string | number> {
    return this.#inTurn(async () => {
      // A thread that was ended, or whose library broke, is never used again: here is another.
      if (this.#worker === undefined) await this.#start();
      return await this.#post(task, bytes);
    });
  }

  async #start(): Promise<void> {
    this.#path = await tokenizerPath(this.#folder);
    const fileBytes = await Deno.stat(this.#path).then(({ size }) => size, () => 0);
    if (this.#disposed) throw new TypeError("Cannot use a tokenizer that is disposed");
    const url = new URL("./tokenizer_worker.ts", import.meta.url);
    this.#worker = new Worker(url, { type: "module", name: "tokenizer" });
    await this.#post({ task: "load", folder: this.#folder }, fileBytes);
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(run);
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #post(task: TokenizerTask, bytes: number): Promise<Int32Array | string | number> {
    const worker = this.#worker;
    if (this.#disposed || worker === undefined) {
      throw new TypeError("Cannot use a tokenizer that is disposed");
    }
    const limitMs = this.#limits.baseMs + this.#limits.msPerMib * bytes / MIB;
    const { promise, resolve, reject } = Promise.withResolvers<TokenizerReply>();
    const timer = setTimeout(() => {
      reject(
        new FileError(
          `Cannot ${task.task} with ${this.#path} as it must take at most ` +
            `${Math.round(limitMs / 1000)} s for ${bytes} bytes: it takes longer`,
        ),
      );
    }, limitMs);
    this.#abort = () => reject(new TypeError("Cannot use a tokenizer that is disposed"));
    worker.onmessage = ({ data }: MessageEvent<TokenizerReply>) => resolve(data);
    worker.onerror = (event) => {
      event.preventDefault();
      reject(
        new FileError(
          `Cannot ${task.task} with ${this.#path}: its thread ended (${event.message})`,
        ),
      );
    };
    try {
      worker.postMessage(task);
      const reply = await promise;
      if ("value" in reply) return reply.value;
      throw errorOf(reply);
    } catch (error) {
      // A text that is too long is refused before the library sees it.
      if (!(error instanceof RequestError)) this.#end();
      throw error;
    } finally {
      clearTimeout(timer);
      this.#abort = undefined;
    }
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }
}

function errorOf(reply: { kind: ErrorKind; message: string }): Error {
  switch (reply.kind) {
    case "file":
      return new FileError(reply.message);
    case "request":
      return new RequestError(reply.message);
    case "device":
      return new DeviceError(reply.message);
    case "bug":
      return new Error(reply.message);
  }
}
