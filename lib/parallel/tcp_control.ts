/**
 * The connections of a rank that joined over TCP: reads them, tells the others where this rank is,
 * and notices who is gone.
 *
 * Rank 0 hands each report on to all others. A rank that does not read (because it is stopped) gets
 * only the last report of each rank, so that nothing piles up.
 *
 * @module
 */
import { errorText, type WorkerError } from "../errors.ts";
import { AbortedError } from "./collective.ts";
import { Ending } from "./ending.ts";
import { Peers, readReport, REPORT_BYTES, writeReport } from "./peers.ts";
import { type Abort, lostRankError, type RankStatus, StallClock } from "./state.ts";
import { FRAME, type Frame, type Link } from "./tcp_link.ts";

const MAX_INTERVAL_MS = 1_000;
/** Nothing is computed on the event loop for so long while a sample runs. */
const MAX_SILENCE_MS = 7_000;
/** Whoever reports on a timer is heard of within so many of its intervals. */
const QUIET_INTERVALS = 4;
/** How long the word that the user has been told may take to be sent. */
const FLUSH_MS = 2_000;

/** What it works with. */
export interface TcpControlOptions {
  readonly rank: number;
  readonly size: number;
  readonly timeoutMs: number;
  readonly status: RankStatus;
  /** The longest frame that the others may send. */
  readonly maxBytes: number;
  /** The exchange that this rank takes part in, or took part in last. */
  epoch(): number;
  /** Takes a frame of an exchange; false if it may not come now. */
  take(from: number, frame: Frame): boolean;
  /** Called when no exchange can go on. */
  onEnd(error: WorkerError): void;
  /** Called once when the run cannot go on for a reason that did not come from here. */
  onLost(error: WorkerError): void;
}

/** One rank's end of the talk. */
export class TcpControl {
  readonly peers: Peers;
  /** How the ranks end a run that cannot go on. */
  readonly ending: Ending;
  readonly #links: ReadonlyMap<number, Link>;
  readonly #options: TcpControlOptions;
  readonly #reading: Promise<unknown>;
  /** Ranks that have taken leave. */
  readonly #left = new Set<number>();
  readonly #allLeft = Promise.withResolvers<boolean>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #end: WorkerError | undefined;
  #isLeaving = false;
  #isClosed = false;
  #isHubLost = false;
  /** For how long rank 0 was quiet, by the frames that have come, and how long it may be. */
  readonly #quiet: StallClock;
  #frames = 0;
  #quietMs = Infinity;
  #timeoutMs: number;

  /** @param links By rank; closed with this. */
  constructor(links: ReadonlyMap<number, Link>, options: TcpControlOptions) {
    const { rank, size, timeoutMs } = options;
    this.#links = links;
    this.#options = options;
    this.peers = new Peers({ rank, size, silenceMs: MAX_SILENCE_MS, ...pace(timeoutMs) });
    this.ending = this.#makeEnding();
    this.#quiet = new StallClock(pace(timeoutMs));
    this.#timeoutMs = timeoutMs;
    this.timeoutMs = timeoutMs;
    this.#reading = Promise.all(Array.from(links, ([from, link]) => this.#read(from, link)));
  }

  /** How often reports are due depends on how long a rank is waited for. */
  set timeoutMs(value: number) {
    if (this.#isClosed) return;
    this.#timeoutMs = value;
    clearInterval(this.#timer);
    const { intervalMs, maxStepMs } = pace(value);
    this.peers.maxStepMs = maxStepMs;
    // Alone there is nobody to talk to.
    if (this.#options.size === 1) return;
    this.#timer = setInterval(() => this.#tick(), intervalMs);
    Deno.unrefTimer(this.#timer);
    this.#quietMs = QUIET_INTERVALS * intervalMs;
  }

  /** Why no operation can be called any more. */
  get end(): WorkerError | undefined {
    return this.#end;
  }

  /** Whether nobody can be told anything, as rank 0 is lost or is not heard of. */
  get isCutOff(): boolean {
    if (this.#options.rank === 0) return false;
    const look = { progress: this.#frames, excused: false, nowMs: performance.now() };
    return this.#quiet.look(0, look) > this.#quietMs || this.#isHubLost;
  }

  /**
   * The rank that holds an exchange up, if there is one. Who does not hear rank 0 knows nothing of
   * the others.
   */
  findStalled(options: { clock: StallClock; timeoutMs: number }): WorkerError | undefined {
    const nowMs = performance.now();
    const stalled = this.peers.findStalled(this.#options.epoch(), { ...options, nowMs });
    if (stalled === undefined || stalled.rank === 0 || !this.isCutOff) return stalled;
    return this.#lostHub(`nothing was heard of it, in a wait of ${options.timeoutMs} ms`);
  }

  /** Tells everybody where this rank is, at once. */
  report(): void {
    const { rank, status } = this.#options;
    if (this.#isClosed || this.#isLeaving) return;
    const bytes = new Uint8Array(REPORT_BYTES);
    const byteLength = writeReport(this.peers.report(status, this.#options.epoch()), bytes);
    for (const link of this.#links.values()) link.sendReport(rank, bytes.subarray(0, byteLength));
  }

  /** Tells everybody a number of this rank's, at once. */
  announce(note: number): void {
    this.peers.note = note;
    this.report();
  }

  /** Sends all ranks that this one is connected to a frame of an exchange. */
  sendAll(kind: number, ...parts: readonly Uint8Array[]): void {
    for (const link of this.#links.values()) link.send(kind, ...parts);
  }

  /** Ends the exchanges of all ranks; the first reason stays. */
  abort(abort: Abort): void {
    if (this.#isClosed || this.peers.abort !== undefined) return;
    this.peers.noteAbort(abort);
    this.report();
    this.#stop(this.#abortedError(abort));
  }

  /** The loss of a rank whose words make no sense. */
  misunderstood(
    rank: number,
    detail = "it came at a wrong time, or has a wrong length",
  ): WorkerError {
    const cause = `what it sends is not understood: ${detail}`;
    return lostRankError(rank, { position: this.peers.position(rank), cause });
  }

  /**
   * Says that this rank goes, after the last exchange.
   *
   * @returns Whether all that this one is connected to have gone, too.
   */
  async leave(timeoutMs: number): Promise<boolean> {
    this.#isLeaving = true;
    clearInterval(this.#timer);
    if (this.#links.size === 0) return true;
    for (const link of this.#links.values()) link.send(FRAME.farewell);
    this.#checkLeft();
    const timer = setTimeout(() => this.#allLeft.resolve(false), timeoutMs);
    const haveAllLeft = await this.#allLeft.promise;
    // A word that is still here would be lost with the connection.
    if (haveAllLeft) await Promise.all(Array.from(this.#links.values(), (link) => link.sent()));
    clearTimeout(timer);
    return haveAllLeft;
  }

  /** Ends all connections. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#allLeft.resolve(false);
    for (const link of this.#links.values()) link.close();
  }

  /** Settles when nothing is read any more. */
  async ended(): Promise<void> {
    await this.#reading;
    await Promise.all(Array.from(this.#links.values(), (link) => link.sent()));
  }

  async #read(from: number, link: Link): Promise<void> {
    const { maxBytes } = this.#options;
    for (;;) {
      let isTaken = false;
      let detail: string | undefined;
      try {
        const frame = await link.read(Math.max(maxBytes, REPORT_BYTES));
        if (this.#isClosed) return;
        this.#frames++;
        if (frame === undefined) return this.#noteEnd(from);
        isTaken = this.#hear(from, frame);
      } catch (error) {
        detail = errorText(error);
      }
      if (isTaken) continue;
      this.#lose(this.misunderstood(from, detail), { isHubLost: from === 0 });
      return link.close();
    }
  }

  #hear(from: number, frame: Frame): boolean {
    if (frame.kind === FRAME.report) return this.#hearReport(from, frame.body);
    if (frame.kind !== FRAME.farewell) return this.#options.take(from, frame);
    this.#noteLeft(from);
    return true;
  }

  #hearReport(from: number, body: Uint8Array): boolean {
    const report = readReport(body);
    // Only rank 0 speaks for others.
    if (from !== 0 && report.rank !== from) return false;
    this.peers.hear(report);
    for (const [rank, link] of this.#links) {
      if (rank !== from) link.sendReport(report.rank, body);
    }
    const { abort } = this.peers;
    if (abort !== undefined && this.#end === undefined) this.#follow(abort);
    return true;
  }

  /** Whoever has gone cannot be waited for. */
  #noteLeft(from: number): void {
    this.#left.add(from);
    this.peers.noteGone(from);
    this.#checkLeft();
  }

  #checkLeft(): void {
    if (this.#isLeaving && this.#left.size === this.#links.size) this.#allLeft.resolve(true);
  }

  #noteEnd(from: number): void {
    if (this.#left.has(from) || this.#isLeaving) return this.#noteLeft(from);
    this.peers.noteGone(from);
    const position = this.peers.position(from);
    const error = lostRankError(from, { position, cause: "its connection has ended" });
    this.#lose(error, { isHubLost: from === 0 });
  }

  #tick(): void {
    this.report();
    // To be looked at regularly: a step counts only so much.
    void this.isCutOff;
    if (this.#end !== undefined) return;
    // Of the others only rank 0 knows whether they are silent.
    const of = [...this.#links.keys()];
    const silent = this.peers.findSilent(performance.now(), { of });
    if (silent !== undefined) this.#lose(silent, { isHubLost: silent.rank === 0 });
  }

  /** A rank is gone; this one found out by itself. */
  #lose(error: WorkerError, options: { isHubLost: boolean }): void {
    this.#isHubLost ||= options.isHubLost;
    if (this.#end !== undefined) return;
    this.peers.noteAbort({ rank: this.#options.rank, reason: error.message });
    this.report();
    this.#stop(error);
    this.#options.onLost(error);
  }

  /** Another rank has ended the run. */
  #follow(abort: Abort): void {
    const error = this.#abortedError(abort);
    // Who gives up waits until all know of it.
    this.report();
    this.#stop(error);
    this.#options.onLost(error);
  }

  #makeEnding(): Ending {
    const patience = () => Math.min(MAX_SILENCE_MS, this.#timeoutMs);
    const isCutOff = () => this.isCutOff || this.#isClosed;
    return new Ending({
      ...{ rank: this.#options.rank, peers: this.peers },
      get patienceMs() {
        return patience();
      },
      get isCutOff() {
        return isCutOff();
      },
      // What comes is taken as it comes.
      hear: () => {},
      say: () => this.report(),
      flush: async () => {
        const sent = Promise.all(Array.from(this.#links.values(), (link) => link.sent()));
        const late = Promise.withResolvers<void>();
        const timer = setTimeout(late.resolve, FLUSH_MS);
        await Promise.race([sent, late.promise]);
        clearTimeout(timer);
      },
    });
  }

  #lostHub(cause: string): WorkerError {
    return lostRankError(0, { position: this.peers.position(0), cause });
  }

  #abortedError(abort: Abort): AbortedError {
    const { rank, reason } = abort;
    const { phase } = this.peers.position(rank);
    return new AbortedError(`Rank ${rank} ended the run: ${reason}`, { rank, phase });
  }

  #stop(error: WorkerError): void {
    this.#end ??= error;
    this.#options.onEnd(error);
  }
}

function pace(timeoutMs: number): { intervalMs: number; maxStepMs: number } {
  const intervalMs = Math.min(MAX_INTERVAL_MS, timeoutMs / 6);
  return { intervalMs, maxStepMs: 2 * intervalMs };
}
