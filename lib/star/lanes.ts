/**
 * Chunks of one sequence that go through the layers side by side, in turns: the first chunk's layer,
 * the second one's, then the next layer. So the keys of a whole layer are there early, and each op
 * is the one that it would be with one chunk after the other.
 *
 * @module
 */
import type { AttentionStrategy } from "../attention/strategy.ts";

/** One lane's end. */
export interface Lane {
  /** A strategy that says when a layer's keys are in the cache, and waits for its turn then. */
  inTurns(strategy: AttentionStrategy): AttentionStrategy;
}

/**
 * Runs chunks side by side.
 *
 * @param chunks Each runs its chunk through all layers, its attention in turns; the keys of the last
 * layer, which has no attention, are in the cache when it settles.
 * @param options `onKeys`: called when the keys of a layer are in the cache for all chunks, before
 * anybody attends to them.
 * @throws What a chunk or `onKeys` throws first; nothing runs any more then.
 */
export async function runSideBySide(
  chunks: readonly ((lane: Lane) => Promise<void>)[],
  options: { layerCount: number; onKeys: (layer: number) => Promise<void> },
): Promise<void> {
  const turns = new Turns(chunks.length);
  const last = chunks.length - 1;
  const lanes = chunks.map(async (run, index) => {
    const reach = async (layer: number): Promise<void> => {
      if (index === last) await options.onKeys(layer);
      turns.pass();
    };
    try {
      await turns.wait(index);
      await run({
        inTurns: (strategy) => ({
          attend: async (queries) => {
            await reach(queries.layer);
            await turns.wait(index);
            await strategy.attend(queries);
          },
        }),
      });
      await reach(options.layerCount - 1);
    } catch (error) {
      turns.fail(error);
      throw error;
    }
  });
  await Promise.allSettled(lanes);
  if (turns.failure !== undefined) throw turns.failure.error;
}

/** Whose turn it is. */
class Turns {
  readonly #waiting: (PromiseWithResolvers<void> | undefined)[];
  #current = 0;
  /** The first error. */
  failure: { readonly error: unknown } | undefined;

  constructor(count: number) {
    this.#waiting = Array.from({ length: count }, () => undefined);
  }

  /** Settles when it is a lane's turn. @throws The first error of any lane. */
  async wait(lane: number): Promise<void> {
    if (this.failure !== undefined) throw this.failure.error;
    if (lane === this.#current) return;
    const turn = Promise.withResolvers<void>();
    this.#waiting[lane] = turn;
    await turn.promise;
  }

  /** Gives the turn to the next lane. */
  pass(): void {
    this.#current = (this.#current + 1) % this.#waiting.length;
    this.#waiting[this.#current]?.resolve();
    this.#waiting[this.#current] = undefined;
  }

  fail(error: unknown): void {
    this.failure ??= { error };
    for (const turn of this.#waiting) turn?.reject(error);
  }
}
