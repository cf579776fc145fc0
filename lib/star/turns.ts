/**
 * Where a run can be ended on its way, and where others go on meanwhile: what computes a sample asks at
 * the borders of its steps, and whoever drives it throws there, or lets others have a step.
 *
 * @module
 */

/** Asked between steps; all may throw, which ends the run and frees what it took. */
export interface Turns {
  /** A border that all ranks reach, equally often; it ends the run on all of them or on none. */
  turn(): Promise<void>;
  /** Where the next thing that all ranks do together is a turn or a pause: it may end the run here. */
  checkpoint(): void;
  /**
   * Asked by all ranks at the same place, before a long piece of work that each does in chunks.
   *
   * @param chunks How many this rank has; others may have more or fewer.
   * @returns How often each rank is to call `pause()` meanwhile: as often as the rank with most chunks
   * has one before another; 0 where nobody else waits for a step.
   */
  agreeOnPauses(chunks: number): Promise<number>;
  /** A turn in which others have a step: it may change all that is not this run's own. */
  pause(): Promise<void>;
}

/** A run that nobody ends, and that nobody waits for. */
export const NO_TURNS: Turns = {
  turn: () => Promise.resolve(),
  checkpoint() {},
  agreeOnPauses: () => Promise.resolve(0),
  pause: () => Promise.resolve(),
};

/** The pauses of one piece of work: as many on all ranks, whatever each has to do. */
export class Pauses {
  readonly #turns: Turns;
  readonly #count: number;
  #made = 0;

  private constructor(turns: Turns, count: number) {
    this.#turns = turns;
    this.#count = count;
  }

  /** Agrees with the other ranks; see {@linkcode Turns.agreeOnPauses}. */
  static async agree(turns: Turns, chunks: number): Promise<Pauses> {
    return new Pauses(turns, await turns.agreeOnPauses(chunks));
  }

  /** Between two chunks of this rank: the next pause. @returns Whether one was left. */
  async next(): Promise<boolean> {
    return await this.#upTo(this.#made + 1);
  }

  /**
   * For work whose parts all ranks do together: the pauses that are due behind `done` of `all` parts.
   *
   * @returns Whether there was one, which was a turn.
   */
  async spread(parts: { done: number; all: number }): Promise<boolean> {
    const { done, all } = parts;
    return await this.#upTo(Math.floor(done * (this.#count + 1) / all));
  }

  /** Behind the last chunk of this rank: the pauses that the others still make. */
  async finish(): Promise<void> {
    await this.#upTo(this.#count);
  }

  async #upTo(made: number): Promise<boolean> {
    const before = this.#made;
    while (this.#made < Math.min(made, this.#count)) {
      this.#made++;
      await this.#turns.pause();
    }
    return this.#made > before;
  }
}
