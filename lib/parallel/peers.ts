/**
 * What the ranks of several machines know of each other: each tells all others, about once a
 * second, where it is and how far, so that a wait can tell a rank that works from one that hangs or
 * is gone, and can name it.
 *
 * It is `GroupState` (lib/parallel/state.ts) without shared memory. All of it is bookkeeping; the
 * words travel elsewhere.
 *
 * @module
 */
import type { WorkerError } from "../errors.ts";
import {
  type Abort,
  lostRankError,
  type Phase,
  PHASES,
  type RankPosition,
  type RankStatus,
  StallClock,
} from "./state.ts";

/** Phases without a counter that moves: a rank that is heard of is well. */
const STEADY_ENOUGH: readonly Phase[] = ["load", "idle"];

/** What a rank says about itself. */
export interface PeerReport extends RankPosition {
  readonly rank: number;
  /** Moves whenever the rank gets on. */
  readonly progress: number;
  /** The exchange that it takes part in, or took part in last. */
  readonly epoch: number;
  /** A number that it has something to say about, for example a request that is cancelled; or 0. */
  readonly note: number;
  /** Why the run ends, as far as it knows; it takes part in no exchange any more. */
  readonly abort?: Abort | undefined;
  /** Whether it knows that the user has been told why. */
  readonly isTold?: boolean | undefined;
}

const WORDS = 9;
const HEAD_BYTES = WORDS * 4;
const TEXT_BYTES = 512;

/** The longest report. */
export const REPORT_BYTES = HEAD_BYTES + TEXT_BYTES;

/** Ranks that hold the event loop for long, with work that is no exchange. */
const UNSTEADY: readonly Phase[] = ["start", "load", "idle"];

/**
 * Writes a report down.
 *
 * @param out At least `REPORT_BYTES`, aligned to 4.
 * @returns The bytes that it takes.
 */
export function writeReport(report: PeerReport, out: Uint8Array): number {
  const { rank, epoch, progress, phase, sample, note, abort } = report;
  const text = out.subarray(HEAD_BYTES, REPORT_BYTES);
  const { written } = new TextEncoder().encodeInto(abort?.reason ?? "", text);
  const abortRank = abort === undefined ? -1 : abort.rank;
  const place = [rank, epoch, progress, PHASES.indexOf(phase), sample];
  const words = [...place, abortRank, written, note, report.isTold === true ? 1 : 0];
  new Int32Array(out.buffer, out.byteOffset, WORDS).set(words);
  return HEAD_BYTES + written;
}

/** Reads what `writeReport()` wrote. */
export function readReport(bytes: Uint8Array): PeerReport {
  const words = new Int32Array(bytes.slice(0, HEAD_BYTES).buffer);
  const [rank = 0, epoch = 0, progress = 0, phase = 0, sample = -1, abortRank = -1] = words;
  const [length = 0, note = 0, told = 0] = words.subarray(WORDS - 3);
  const position = { rank, epoch, progress, phase: PHASES[phase] ?? "start", sample, note };
  if (abortRank < 0) return position;
  const end = HEAD_BYTES + Math.min(Math.max(length, 0), TEXT_BYTES);
  const reason = new TextDecoder().decode(bytes.slice(HEAD_BYTES, end));
  return { ...position, abort: { rank: abortRank, reason }, isTold: told !== 0 };
}

/** How patient a group is. */
export interface Patience {
  /** How long nothing may be heard of a rank that works on a sample. */
  readonly silenceMs: number;
  /** The longest time that passes between two looks of a process that runs. */
  readonly maxStepMs: number;
}

/** All ranks as this one knows them. */
export class Peers {
  readonly #rank: number;
  readonly #reports: PeerReport[];
  readonly #heard: number[];
  readonly #silenceMs: number;
  readonly #silence: StallClock;
  /** As `#silence`, of ranks in any phase. */
  readonly #quiet: StallClock;
  /** The longest time that passes between two looks of a process that runs. */
  maxStepMs: number;
  /** This rank's own note. */
  note = 0;
  #abort: Abort | undefined;
  #lowestAborter: number | undefined;
  #isTold = false;
  readonly #gone = new Set<number>();

  constructor(options: Patience & { rank: number; size: number }) {
    this.#rank = options.rank;
    this.#silenceMs = options.silenceMs;
    this.maxStepMs = options.maxStepMs;
    this.#silence = new StallClock(options);
    this.#quiet = new StallClock(options);
    this.#heard = Array.from({ length: options.size }, () => 0);
    this.#reports = Array.from({ length: options.size }, (_, rank) => ({
      rank,
      epoch: 0,
      progress: 0,
      phase: "start",
      sample: -1,
      note: 0,
    }));
  }

  /** The first rank that gave up, as far as is known here. */
  get abort(): Abort | undefined {
    return this.#abort;
  }

  /** The lowest rank that gave up: when several notice a loss at once, that one may say so. */
  get lowestAborter(): number | undefined {
    return this.#lowestAborter;
  }

  /** Notes that somebody gave up; the first one stays. */
  noteAbort(abort: Abort): void {
    this.#abort ??= abort;
    this.#lowestAborter = Math.min(this.#lowestAborter ?? abort.rank, abort.rank);
  }

  /** Whether one of the ranks has told the user why the run ends. */
  get isTold(): boolean {
    return this.#isTold;
  }

  /** Notes that the user has been told. */
  noteTold(): void {
    this.#isTold = true;
  }

  /** Notes that nothing can come from a rank any more. */
  noteGone(rank: number): void {
    this.#gone.add(rank);
  }

  /** Whether nothing comes from a rank any more, or has come for `patienceMs`; ask regularly. */
  isGone(rank: number, options: { nowMs: number; patienceMs: number }): boolean {
    const { nowMs, patienceMs } = options;
    const progress = this.#heard[rank] ?? 0;
    const quietMs = this.#quiet.look(rank, { progress, excused: false, nowMs });
    return this.#gone.has(rank) || quietMs >= patienceMs;
  }

  /** The others that have not said yet that they know of the end, but for those that are gone. */
  awaited(nowMs: number, patienceMs: number): number[] {
    return this.#reports.filter(({ rank, abort }) =>
      rank !== this.#rank && abort === undefined && !this.isGone(rank, { nowMs, patienceMs })
    ).map(({ rank }) => rank);
  }

  /** Takes a report. */
  hear(report: PeerReport): void {
    if (this.#reports[report.rank] === undefined) return;
    this.#reports[report.rank] = report;
    this.#heard[report.rank] = (this.#heard[report.rank] ?? 0) + 1;
    if (report.abort !== undefined) this.noteAbort(report.abort);
    if (report.isTold === true) this.noteTold();
  }

  /** What this rank has to say. */
  report(status: RankStatus, epoch: number): PeerReport {
    const { position, progress } = status;
    const { note } = this;
    const { abort, isTold } = this;
    return { rank: this.#rank, epoch, progress, ...position, note, abort, isTold };
  }

  /** A rank's note, as it was heard last. */
  noteOf(rank: number): number {
    return this.#reports[rank]?.note ?? 0;
  }

  /** Where a rank was when it was heard last. */
  position(rank: number): RankPosition {
    return this.#reports[rank] ?? { phase: "start", sample: -1 };
  }

  /** A clock for one wait. */
  clock(): StallClock {
    return new StallClock({ maxStepMs: this.maxStepMs });
  }

  /**
   * The rank that has vanished in the middle of a sample, if one has; ask regularly.
   *
   * @param options `of`: the ranks to look at. Default: all others.
   */
  findSilent(nowMs: number, options: { of?: readonly number[] } = {}): WorkerError | undefined {
    const silenceMs = this.#silenceMs;
    for (const { rank, phase } of this.#reports) {
      if (rank === this.#rank) continue;
      // Whoever waits for ranks at the end of the run is to know who was silent before.
      this.isGone(rank, { nowMs, patienceMs: silenceMs });
      if (options.of?.includes(rank) === false) continue;
      const progress = this.#heard[rank] ?? 0;
      const excused = UNSTEADY.includes(phase);
      if (this.#silence.look(rank, { progress, excused, nowMs }) < silenceMs) continue;
      return this.#lost(rank, `nothing was heard of it for ${silenceMs} ms`);
    }
    return undefined;
  }

  /**
   * The rank that holds an exchange up and does not get on, if there is one.
   *
   * A rank that loads, or is between two samples, may stand still as long as it is heard of.
   *
   * @param options `clock`: this wait's own; `timeoutMs`: its longest.
   */
  findStalled(
    epoch: number,
    options: { clock: StallClock; timeoutMs: number; nowMs: number },
  ): WorkerError | undefined {
    const { clock, timeoutMs, nowMs } = options;
    for (const report of this.#reports) {
      const { rank, phase } = report;
      if (rank === this.#rank || ((report.epoch - epoch) | 0) >= 0) continue;
      const heard = this.#heard[rank] ?? 0;
      const progress = STEADY_ENOUGH.includes(phase) ? heard : report.progress;
      if (clock.look(rank, { progress, excused: false, nowMs }) < timeoutMs) continue;
      return this.#lost(rank, `it made no progress for ${timeoutMs} ms`);
    }
    return undefined;
  }

  #lost(rank: number, cause: string): WorkerError {
    return lostRankError(rank, { position: this.position(rank), cause });
  }
}
