/**
 * The context that is asked about again and again: kept encoded from prompt to prompt.
 *
 * @module
 */
import type { ModelShape } from "../model/model_shape.ts";
import {
  decidingLength,
  dependsOnLength,
  inverseFrequencies,
  type RopeLengths,
} from "../model/rope_frequencies.ts";
import type { EncodedContext } from "../star/encode.ts";
import type { GenerateRequest } from "../star/request.ts";

/** Tokens that a later query about a kept context may be longer by than the first one. */
export const SPARE_ROOM = 512;

/** Keeps one context at a time; all ranks keep the same one, as they go by ids alone. */
export class SharedContext {
  readonly #config: Pick<ModelShape, "ropes">;
  #ids = new Int32Array(0);
  /** What it was encoded with in place of the model's plan. */
  #plan: GenerateRequest["plan"];
  #encoded: EncodedContext | undefined;

  constructor(config: Pick<ModelShape, "ropes">) {
    this.#config = config;
  }

  /** Whether it is this context that is kept. */
  has(encoded: EncodedContext): boolean {
    return this.#encoded === encoded;
  }

  /**
   * The kept context, if it is the request's, with the keys that it would get now.
   *
   * @param lengths What its rotations would depend on.
   */
  find(
    { contextIds, plan }: Pick<GenerateRequest, "contextIds" | "plan">,
    lengths: RopeLengths,
  ): EncodedContext | undefined {
    const encoded = this.#encoded;
    if (encoded === undefined || contextIds.length !== this.#ids.length) return undefined;
    if (contextIds.some((id, i) => id !== this.#ids[i]) || !isSamePlan(plan, this.#plan)) {
      return undefined;
    }
    const before = encoded.sequence.lengths;
    const isSame = this.#config.ropes.filter(dependsOnLength).every((rope) => {
      // The prompt's length decides about all of its context alike.
      const [a, b] = [before, lengths].map((lengths) =>
        inverseFrequencies(rope, decidingLength(rope, { position: 0, lengths }))
      );
      return String(a) === String(b);
    });
    return isSame ? encoded : undefined;
  }

  /** Keeps a context in place of another one. @returns The other one, which is not kept any more. */
  keep(
    request: Pick<GenerateRequest, "contextIds" | "plan">,
    encoded: EncodedContext,
  ): EncodedContext | undefined {
    const before = this.release();
    // A copy: what arrived may be a part of something larger.
    this.#ids = request.contextIds.slice();
    this.#plan = request.plan;
    this.#encoded = encoded;
    return before;
  }

  /** Keeps nothing any more. @returns What was kept. */
  release(): EncodedContext | undefined {
    const encoded = this.#encoded;
    this.#ids = new Int32Array(0);
    this.#encoded = undefined;
    return encoded;
  }
}

/** Plans are plain data, made in one place. */
function isSamePlan(a: GenerateRequest["plan"], b: GenerateRequest["plan"]): boolean {
  return a === b || JSON.stringify(a) === JSON.stringify(b);
}
