/**
 * Who may come in: as many prompts as the model has places, and a queue of a limited length.
 *
 * @module
 */
import { ApiError } from "./errors.ts";

/** Counts the prompts that are in the server. */
export class Admission {
  /** Prompts that run or wait, at most. */
  readonly capacity: number;
  /** Prompts that run at once, at most. */
  readonly places: number;
  #count = 0;

  constructor(options: { places: number; queue: number }) {
    this.places = options.places;
    this.capacity = options.places + options.queue;
  }

  /** Prompts that are in. */
  get count(): number {
    return this.#count;
  }

  /**
   * Lets prompts in; disposal lets them out.
   *
   * @throws {ApiError} If there is no room, now (429) or ever (400).
   */
  enter(prompts: number): Disposable {
    if (prompts > this.capacity) {
      throw new ApiError(
        400,
        `A request must have at most ${this.capacity} prompts: current value is ${prompts}`,
        { param: "prompt" },
      );
    }
    if (this.#count + prompts > this.capacity) {
      throw new ApiError(429, `The queue is full: ${this.#count} prompts run or wait`, {
        code: "queue_full",
      });
    }
    this.#count += prompts;
    let isIn = true;
    return {
      [Symbol.dispose]: () => {
        if (isIn) this.#count -= prompts;
        isIn = false;
      },
    };
  }
}
