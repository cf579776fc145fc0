/**
 * Watches the ranks of a team for one that hangs: it has work, gets nowhere and waits for nobody.
 *
 * @module
 */
import { type GroupState, lostRankError, StallClock } from "../parallel/state.ts";
import type { WorkerError } from "../errors.ts";

/** What to watch. */
export interface MonitorOptions {
  /** How long a rank may make no progress; it can differ by rank and time. */
  timeoutMs(rank: number): number;
  /** Whether a rank owes an answer; one that does not may stand still. */
  isBusy(rank: number): boolean;
  /** Called once, for the first rank that hangs. */
  onLost(error: WorkerError): void;
  /** The time between two looks. */
  intervalMs: number;
}

/** Looks at the ranks again and again until it is disposed. */
export class Monitor implements Disposable {
  readonly #state: GroupState;
  readonly #options: MonitorOptions;
  readonly #clock: StallClock;
  readonly #pulses: StallClock;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(state: GroupState, options: MonitorOptions) {
    this.#state = state;
    this.#options = options;
    this.#clock = new StallClock({ maxStepMs: 2 * options.intervalMs });
    this.#pulses = new StallClock({ maxStepMs: 2 * options.intervalMs });
    this.#timer = setInterval(() => this.#look(), options.intervalMs);
  }

  /** Stops looking; a second call does nothing. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const nowMs = performance.now();
    const standing: { rank: number; stalledMs: number; silentMs: number; timeoutMs: number }[] = [];
    for (let rank = 0; rank < this.#state.size; rank++) {
      const { progress, pulse, waitsForOthers } = this.#state.snapshot(rank);
      const excused = waitsForOthers || !this.#options.isBusy(rank);
      const timeoutMs = this.#options.timeoutMs(rank);
      const stalledMs = this.#clock.look(rank, { progress, excused, nowMs });
      const silentMs = this.#pulses.look(rank, { progress: pulse, excused: false, nowMs });
      if (stalledMs >= timeoutMs / 2) standing.push({ rank, stalledMs, silentMs, timeoutMs });
    }
    const late = standing.find(({ stalledMs, timeoutMs }) => stalledMs >= timeoutMs);
    if (late === undefined) return;
    // A rank whose GPU waits for another one's stands still as long as that one, but its heart beats.
    const { rank, timeoutMs } = standing.reduce((a, b) => b.silentMs > a.silentMs ? b : a, late);
    this[Symbol.dispose]();
    const position = this.#state.snapshot(rank);
    const cause = `it made no progress for ${timeoutMs} ms`;
    this.#options.onLost(lostRankError(rank, { position, cause }));
  }
}
