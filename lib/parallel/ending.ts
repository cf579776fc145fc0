/**
 * The end of a run that cannot go on: which rank tells the user why, and how long the others stay.
 *
 * Several ranks may notice a loss at once, and a launcher ends all ranks with the first that ends. So
 * who gives up says so, and waits until each of the others has said that it knows of the end, or is
 * as silent as a rank that is lost. What one rank says to another comes in order: of two that give
 * up, each knows of the other then. The lowest tells the user, and says that it has; the others end
 * only after that. How long words travel, and how long a rank waits for its core, does not matter.
 *
 * @module
 */
import type { Peers } from "./peers.ts";
import { StallClock } from "./state.ts";

/** How a rank talks with the others, whatever carries the words. */
export interface EndingTalk {
  readonly rank: number;
  readonly peers: Peers;
  /** How long nothing may be heard of a rank that is waited for, in ms. */
  readonly patienceMs: number;
  /** Whether this rank can neither hear the others nor be heard. */
  readonly isCutOff: boolean;
  /** Takes what has come; throws nothing. */
  hear(): void;
  /** Says that the user has been told. */
  say(): void;
  /** Settles when what was said is on its way, or cannot be. */
  flush(): Promise<void>;
}

/** The time that passes; a test has its own. */
export interface EndingClock {
  nowMs(): number;
  sleep(durationMs: number): Promise<void>;
}

const POLL_MS = 2;
/** No rank stays longer, whatever it still hears. */
const MAX_WAIT_MS = 30_000;
/** A process that runs looks again sooner; longer steps are those of one that was stopped. */
const MAX_STEP_MS = 1_000;

const REAL_CLOCK: EndingClock = {
  nowMs: () => performance.now(),
  sleep: (durationMs) => new Promise((resolve) => setTimeout(resolve, durationMs)),
};

/** One rank's part in the end. */
export class Ending {
  readonly #talk: EndingTalk;
  readonly #clock: EndingClock;

  constructor(talk: EndingTalk, clock: EndingClock = REAL_CLOCK) {
    this.#talk = talk;
    this.#clock = clock;
  }

  /**
   * After this rank has given up: finds out who else has.
   *
   * @returns Whether this rank is the one to tell the user; a rank that is cut off finds nobody else.
   */
  async agree(): Promise<boolean> {
    const { peers, rank, patienceMs } = this.#talk;
    const mustWait = () =>
      !this.#isOthersToTell() && !this.#talk.isCutOff &&
      peers.awaited(this.#clock.nowMs(), patienceMs).length > 0;
    await this.#waitWhile(mustWait);
    return !this.#isOthersToTell() && (peers.lowestAborter ?? rank) === rank;
  }

  /** Says that the user has been told. */
  async told(): Promise<void> {
    this.#talk.peers.noteTold();
    this.#talk.say();
    await this.#talk.flush();
  }

  /** Waits until another rank has told the user, or cannot any more. */
  async untilTold(): Promise<void> {
    const { peers, patienceMs } = this.#talk;
    const mayBeTold = () => {
      if (peers.isTold || this.#talk.isCutOff) return false;
      const { lowestAborter: teller } = peers;
      if (teller === undefined) return true;
      return !peers.isGone(teller, { nowMs: this.#clock.nowMs(), patienceMs });
    };
    await this.#waitWhile(mayBeTold);
    // Others may hear of it only by way of this rank.
    await this.#talk.flush();
  }

  #isOthersToTell(): boolean {
    const { peers, rank } = this.#talk;
    return peers.isTold || (peers.lowestAborter ?? rank) < rank;
  }

  async #waitWhile(isOpen: () => boolean): Promise<void> {
    const waited = new StallClock({ maxStepMs: MAX_STEP_MS });
    for (;;) {
      this.#talk.hear();
      if (!isOpen()) return;
      const look = { progress: 0, excused: false, nowMs: this.#clock.nowMs() };
      if (waited.look(0, look) >= MAX_WAIT_MS) return;
      await this.#clock.sleep(POLL_MS);
    }
  }
}

/** Notices that this process was stopped for so long that the others may have ended without it. */
export class Absence {
  /** How long the others wait for a rank at the least, and how long it is new here again. */
  limitMs: number;
  #lastMs: number;
  #wokeMs = -Infinity;

  constructor(options: { limitMs: number; nowMs: number }) {
    this.limitMs = options.limitMs;
    this.#lastMs = options.nowMs;
  }

  /** This process runs; to be called far more often than once in the limit. */
  turn(nowMs: number): void {
    if (nowMs - this.#lastMs >= this.limitMs) this.#wokeMs = nowMs;
    this.#lastMs = nowMs;
  }

  /** How long ago this process went on after it had been stopped, in ms; Infinity if it never was. */
  sinceMs(nowMs: number): number {
    this.turn(nowMs);
    return nowMs - this.#wokeMs;
  }

  /** Whether what this process finds now may have happened while it was stopped. */
  isFresh(nowMs: number): boolean {
    return this.sinceMs(nowMs) < this.limitMs;
  }
}
