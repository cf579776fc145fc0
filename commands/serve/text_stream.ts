/**
 * The text of an answer piece by piece, while it is generated.
 *
 * @module
 */
import { invariant } from "../../lib/errors.ts";
import type { TextTokenizer } from "../../lib/model/tokenizer.ts";

/** Stands for the bytes of a letter whose other bytes are still to come. */
const INCOMPLETE = /\uFFFD+$/;

/** Gives out what the following tokens cannot change. */
export class TextStream {
  readonly #tokenizer: TextTokenizer;
  readonly #stop: readonly string[];
  readonly #endIds: readonly number[];
  readonly #send: (text: string) => void;
  #sent = "";
  #last = "";
  #latest: readonly number[] | undefined;
  #working: Promise<void> | undefined;

  constructor(
    options: {
      tokenizer: TextTokenizer;
      stop: readonly string[];
      endIds: readonly number[];
      send: (text: string) => void;
    },
  ) {
    this.#tokenizer = options.tokenizer;
    this.#stop = options.stop;
    this.#endIds = options.endIds;
    this.#send = options.send;
  }

  /** Takes all ids so far; those that come while it works are looked at behind them. */
  push(ids: readonly number[]): void {
    this.#latest = [...ids];
    // What fails here fails for the whole answer, too, which says so.
    this.#working ??= this.#work().catch(() => {}).finally(() => this.#working = undefined);
  }

  async #work(): Promise<void> {
    while (this.#latest !== undefined) {
      const ids = this.#latest;
      this.#latest = undefined;
      const text = await this.#tokenizer.decode(ids.filter((id) => !this.#endIds.includes(id)));
      this.#sendUpTo(this.#safe(text));
    }
  }

  /** What no stop word can begin in, and no other token changes: it stood there before, too. */
  #safe(text: string): string {
    const before = this.#last;
    this.#last = text;
    let end = commonLength(before, text);
    end = Math.min(end, text.replace(INCOMPLETE, "").length);
    for (const word of this.#stop) {
      const at = text.indexOf(word);
      if (at >= 0) end = Math.min(end, at);
      for (let length = 1; length < word.length; length++) {
        if (text.endsWith(word.slice(0, length))) end = Math.min(end, text.length - length);
      }
    }
    return text.slice(0, end);
  }

  #sendUpTo(text: string): void {
    if (text.length <= this.#sent.length || !text.startsWith(this.#sent)) return;
    this.#send(text.slice(this.#sent.length));
    this.#sent = text;
  }

  /** Gives out the rest. @param text The whole answer. */
  async end(text: string): Promise<void> {
    await this.#working;
    invariant(text.startsWith(this.#sent), "what was sent begins the answer");
    this.#sendUpTo(text);
  }
}

function commonLength(a: string, b: string): number {
  let length = 0;
  while (length < Math.min(a.length, b.length) && a[length] === b[length]) length++;
  // A pair of surrogates is one letter.
  const last = b.charCodeAt(length - 1);
  return last >= 0xd800 && last < 0xdc00 ? length - 1 : length;
}
