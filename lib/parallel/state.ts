/**
 * What the ranks of one machine share besides their data: how far each one is, and who gave up.
 *
 * It tells a hung rank (nothing moves) from one that waits for another. All words are 32 bits wide
 * and only touched through Atomics; counters wrap around.
 *
 * @module
 */
import { WorkerError } from "../errors.ts";
import type { Bytes } from "../ffi/memory.ts";

/** What a rank can be doing; the index is the shared code. */
export const PHASES = ["start", "load", "idle", "phase 1", "phase 2"] as const;

/** What a rank is doing. */
export type Phase = typeof PHASES[number];

/** Where a rank is. */
export interface RankPosition {
  readonly phase: Phase;
  /** The index of the sample, or -1. */
  readonly sample: number;
}

/** A look at one rank. */
export interface RankSnapshot extends RankPosition {
  /** Moves whenever the rank gets on. */
  readonly progress: number;
  /** Moves as long as its event loop turns, also while it waits for a GPU. */
  readonly pulse: number;
  /** Whether it sleeps until another rank arrives, which is no fault of its own. */
  readonly waitsForOthers: boolean;
}

/** The first rank that gave up, and why. */
export interface Abort {
  readonly rank: number;
  readonly reason: string;
}

const WORD = 4;
/** Two cache lines, as processors fetch them in pairs. */
const LINE = 128;
/** One line each, so that a rank that polls one word is not disturbed by writes to another. */
const ARRIVALS = LINE / WORD;
const DONE = 2 * ARRIVALS;
const ABORT = 3 * ARRIVALS;
const ABORT_CLAIM = ABORT + 1;
const ABORT_LENGTH = ABORT + 2;
const ABORT_TEXT_BYTES = 512;
const ABORT_TEXT_OFFSET = 4 * LINE;
const RANKS_OFFSET = ABORT_TEXT_OFFSET + ABORT_TEXT_BYTES;

const PROGRESS = 0;
const PHASE = 1;
const SAMPLE = 2;
const WAITING = 3;
const WAITING_EPOCH = 4;
const ARRIVED = 5;
const PULSE = 6;

/** How a rank tells the others how far it is. */
export class RankStatus {
  readonly #words: Int32Array<ArrayBuffer>;
  /** Called when a phase begins. */
  onEnter: (() => void) | undefined;

  /** @param words At least 32 words of its own; process-local ones when nobody watches. */
  constructor(words: Int32Array<ArrayBuffer> = new Int32Array(LINE / WORD)) {
    this.#words = words;
  }

  /** Says what this rank does from now on; counts as progress. */
  enter(phase: Phase, sample = -1): void {
    Atomics.store(this.#words, PHASE, PHASES.indexOf(phase));
    // Zeros, as at first, mean no sample.
    Atomics.store(this.#words, SAMPLE, sample + 1);
    this.advance();
    this.onEnter?.();
  }

  /** Says that this rank got on; costs one atomic addition. */
  advance(): void {
    Atomics.add(this.#words, PROGRESS, 1);
  }

  /** Says that this rank's event loop turns; no progress. */
  beat(): void {
    Atomics.add(this.#words, PULSE, 1);
  }

  /** Moves whenever this rank gets on. */
  get progress(): number {
    return Atomics.load(this.#words, PROGRESS);
  }

  /** What it said last. */
  get position(): RankPosition {
    const phase = PHASES[Atomics.load(this.#words, PHASE)] ?? "start";
    return { phase, sample: Atomics.load(this.#words, SAMPLE) - 1 };
  }
}

/** The shared words of a group. */
export class GroupState {
  readonly size: number;
  readonly #words: Int32Array<ArrayBuffer>;
  readonly #text: Bytes;

  /** The bytes that it takes, a whole number of pages. */
  static byteLength(size: number): number {
    return Math.ceil((RANKS_OFFSET + size * LINE) / 4096) * 4096;
  }

  /** The offset of the word on which ranks sleep. */
  static readonly doneByteOffset = DONE * WORD;

  /** @param bytes The shared memory, zeros at first, page aligned. */
  constructor(bytes: Bytes, options: { size: number }) {
    this.size = options.size;
    const byteLength = GroupState.byteLength(options.size);
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, byteLength / WORD);
    this.#text = bytes.subarray(ABORT_TEXT_OFFSET, ABORT_TEXT_OFFSET + ABORT_TEXT_BYTES);
  }

  /** The writing end for one rank. */
  status(rank: number): RankStatus {
    const start = this.#rankWord(rank, 0);
    return new RankStatus(this.#words.subarray(start, start + LINE / WORD));
  }

  /** What a rank is doing now. */
  snapshot(rank: number): RankSnapshot {
    const load = (word: number) => Atomics.load(this.#words, this.#rankWord(rank, word));
    const waiting = load(WAITING) !== 0;
    return {
      phase: PHASES[load(PHASE)] ?? "start",
      sample: load(SAMPLE) - 1,
      progress: load(PROGRESS),
      pulse: load(PULSE),
      waitsForOthers: waiting && !this.isDone(load(WAITING_EPOCH)),
    };
  }

  /**
   * Says that a rank has put its data down; each rank says it once per epoch.
   *
   * @returns Whether it was the last one, and so has to wake the others.
   */
  arrive(rank: number, epoch: number): boolean {
    Atomics.store(this.#words, this.#rankWord(rank, ARRIVED), epoch);
    const arrivals = (Atomics.add(this.#words, ARRIVALS, 1) + 1) | 0;
    if (arrivals !== Math.imul(epoch, this.size)) return false;
    Atomics.store(this.#words, DONE, epoch);
    return true;
  }

  /** Whether all ranks have arrived in an epoch. */
  isDone(epoch: number): boolean {
    return ((Atomics.load(this.#words, DONE) - epoch) | 0) >= 0;
  }

  /** Says that a rank sleeps until an epoch is done. */
  beginWait(rank: number, epoch: number): void {
    Atomics.store(this.#words, this.#rankWord(rank, WAITING_EPOCH), epoch);
    Atomics.store(this.#words, this.#rankWord(rank, WAITING), 1);
  }

  /** Says that a rank goes on; counts as progress. */
  endWait(rank: number): void {
    Atomics.store(this.#words, this.#rankWord(rank, WAITING), 0);
    Atomics.add(this.#words, this.#rankWord(rank, PROGRESS), 1);
  }

  /** The ranks that have not arrived in an epoch. */
  missing(epoch: number): number[] {
    const ranks: number[] = [];
    for (let rank = 0; rank < this.size; rank++) {
      const arrived = Atomics.load(this.#words, this.#rankWord(rank, ARRIVED));
      if (((arrived - epoch) | 0) < 0) ranks.push(rank);
    }
    return ranks;
  }

  /** Ends the group; the first reason stays. */
  abort(abort: Abort): void {
    if (Atomics.compareExchange(this.#words, ABORT_CLAIM, 0, 1) !== 0) return;
    const { written } = new TextEncoder().encodeInto(abort.reason, this.#text);
    Atomics.store(this.#words, ABORT_LENGTH, written);
    // Zero, as at first, means none.
    Atomics.store(this.#words, ABORT, abort.rank + 1);
  }

  /** Who ended the group, if someone did. */
  get aborted(): Abort | undefined {
    const code = Atomics.load(this.#words, ABORT);
    if (code === 0) return undefined;
    const length = Atomics.load(this.#words, ABORT_LENGTH);
    return { rank: code - 1, reason: new TextDecoder().decode(this.#text.slice(0, length)) };
  }

  #rankWord(rank: number, word: number): number {
    return (RANKS_OFFSET + rank * LINE) / WORD + word;
  }
}

/**
 * Measures for how long each rank has made no progress.
 *
 * Each look counts at most `maxStepMs`: when this process itself was stopped (by the terminal, with
 * the whole group), the others are not to blame.
 */
export class StallClock {
  readonly #progress: number[] = [];
  readonly #stalledMs: number[] = [];
  readonly #lastMs: number[] = [];
  readonly #maxStepMs: number;

  constructor(options: { maxStepMs: number }) {
    this.#maxStepMs = options.maxStepMs;
  }

  /**
   * Looks at a rank.
   *
   * @param options.excused Whether it may stand still now.
   * @returns For how long it has made no progress.
   */
  look(rank: number, options: { progress: number; excused: boolean; nowMs: number }): number {
    const { progress, excused, nowMs } = options;
    const stepMs = Math.min(nowMs - (this.#lastMs[rank] ?? nowMs), this.#maxStepMs);
    const moved = this.#progress[rank] !== progress;
    this.#lastMs[rank] = nowMs;
    this.#progress[rank] = progress;
    const stalledMs = moved || excused ? 0 : (this.#stalledMs[rank] ?? 0) + stepMs;
    this.#stalledMs[rank] = stalledMs;
    return stalledMs;
  }
}

/** A position for people, for example `phase 2 of sample 3`. */
export function positionText(position: RankPosition): string {
  return position.sample < 0 ? position.phase : `${position.phase} of sample ${position.sample}`;
}

/** The error of a lost rank: one line with rank, phase, sample and cause. */
export function lostRankError(
  rank: number,
  options: { position: RankPosition; cause: string },
): WorkerError {
  const { position, cause } = options;
  return new WorkerError(`Lost rank ${rank} in ${positionText(position)}: ${cause}`, {
    rank,
    phase: position.phase,
  });
}
