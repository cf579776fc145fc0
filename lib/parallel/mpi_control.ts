/**
 * The words that ranks exchange beside their data over MPI: reports on a timer, and the end of the
 * run.
 *
 * Reports are small enough to be sent eagerly by every MPI library. A rank that does not take its
 * reports (because it is stopped) gets no further ones, so that nothing piles up.
 *
 * @module
 */
import { WorkerError } from "../errors.ts";
import type { Bytes } from "../ffi/memory.ts";
import type { Mpi } from "../ffi/mpi.ts";
import type { Arena } from "./arena.ts";
import { AbortedError } from "./collective.ts";
import { Absence, Ending } from "./ending.ts";
import { Peers, readReport, REPORT_BYTES, writeReport } from "./peers.ts";
import type { Abort, RankStatus } from "./state.ts";

const TAG = 77;
const SLOT_BYTES = Math.ceil(REPORT_BYTES / 64) * 64 + 64;
const MAX_INTERVAL_MS = 1_000;
/** Nothing is computed on the event loop for so long while a sample runs. */
const MAX_SILENCE_MS = 7_000;
/** How long the last reports may take. */
const DRAIN_MS = 200;
/** Others have not heard of a rank since its last report, some time before it was stopped. */
const GIVEN_UP = 3 / 4;
/**
 * After a stop the launcher's signal is to come first: the others may be gone, and then a call of the
 * library may never return (Open MPI 4.1 tells over and over of a connection that is broken).
 */
const WAKE_MS = 2_000;
/** How long the word that the user has been told may take to be sent. */
const FLUSH_MS = 2_000;

/** A message with its request in front of it. */
interface Slot {
  readonly request: bigint;
  readonly address: bigint;
  readonly bytes: Bytes;
  /** Whether MPI still needs it. */
  pending: boolean;
}

/** What it works with. */
export interface ControlOptions {
  /** At least `byteLength(size)`; never freed. */
  readonly memory: Arena;
  readonly status: RankStatus;
  readonly timeoutMs: number;
  /** The exchange that this rank takes part in, or took part in last. */
  epoch(): number;
  /** Called once when the run cannot go on. */
  onLost(error: WorkerError): void;
}

/** One rank's end of the talk. */
export class MpiControl {
  readonly peers: Peers;
  /** How the ranks end a run that cannot go on. */
  readonly ending: Ending;
  readonly #size: number;
  readonly #mpi: Mpi;
  readonly #options: ControlOptions;
  readonly #rank: number;
  readonly #incoming: Slot;
  /** By rank: what is sent on a timer, and what is sent once: that the run ends, and that it is told. */
  readonly #reports: readonly Slot[];
  readonly #farewells: readonly Slot[];
  readonly #lastWords: readonly Slot[];
  readonly #absence = new Absence({ limitMs: MAX_SILENCE_MS, nowMs: performance.now() });
  #timer: ReturnType<typeof setInterval> | undefined;
  #timeoutMs: number;
  #lost = false;
  #hasTakenLeave = false;
  #stopped = false;

  /** The bytes that it needs. */
  static byteLength(size: number): number {
    return slotCount(size) * SLOT_BYTES;
  }

  constructor(mpi: Mpi, options: ControlOptions) {
    const { timeoutMs, memory } = options;
    const { rank, size } = mpi;
    this.#mpi = mpi;
    this.#rank = rank;
    this.#size = size;
    this.#options = options;
    this.peers = new Peers({ rank, size, silenceMs: MAX_SILENCE_MS, ...pace(timeoutMs) });
    const slots = Array.from({ length: slotCount(size) }, (_, i) => makeSlot(memory, i));
    const [incoming = makeSlot(memory, 0)] = slots;
    this.#incoming = incoming;
    this.#reports = slots.slice(1, 1 + size);
    this.#farewells = slots.slice(1 + size, 1 + 2 * size);
    this.#lastWords = slots.slice(1 + 2 * size);
    this.ending = this.#makeEnding();
    this.#timeoutMs = timeoutMs;
    this.#listen();
    this.timeoutMs = timeoutMs;
  }

  /** How often reports are due depends on how long a rank is waited for. */
  set timeoutMs(value: number) {
    if (this.#stopped) return;
    this.#timeoutMs = value;
    this.#absence.limitMs = GIVEN_UP * Math.min(MAX_SILENCE_MS, value);
    clearInterval(this.#timer);
    const { intervalMs, maxStepMs } = pace(value);
    this.peers.maxStepMs = maxStepMs;
    // Alone there is nobody to talk to.
    if (this.#size === 1) return;
    this.#timer = setInterval(() => this.#tick(), intervalMs);
    Deno.unrefTimer(this.#timer);
  }

  /** Takes the reports that have come; who gives up learns at once that this rank knows of it. */
  receive(): void {
    this.#absence.turn(performance.now());
    while (this.#incoming.pending && this.#mpi.test(this.#incoming.request)) {
      this.#incoming.pending = false;
      this.peers.hear(readReport(this.#incoming.bytes));
      this.#listen();
    }
    if (this.peers.abort !== undefined) this.#takeLeave();
  }

  /** Tells everybody where this rank is, at once. */
  report(): void {
    if (!this.#stopped && this.peers.abort === undefined) this.#send(this.#reports);
  }

  /** Tells everybody a number of this rank's, at once. */
  announce(note: number): void {
    this.peers.note = note;
    this.report();
  }

  /** What a rank announced last. */
  announced(rank: number): number {
    if (!this.#stopped) this.receive();
    return this.peers.noteOf(rank);
  }

  /** Tells everybody that the run ends; the first reason stays. */
  abort(abort: Abort): void {
    if (this.#stopped || this.peers.abort !== undefined) return;
    this.peers.noteAbort(abort);
    this.#lost = true;
    this.#takeLeave();
  }

  /**
   * What an error of the MPI library means. A rank that was stopped is given up, and the others end:
   * that it finds them gone is no news.
   */
  explain(error: WorkerError): WorkerError {
    if (error.rank >= 0 || !this.#absence.isFresh(performance.now())) return error;
    const text = `The other ranks went on while this one was stopped: ${error.message}`;
    return new AbortedError(text, { rank: error.rank, phase: error.phase });
  }

  /** Whether this process was stopped until a moment ago: the library is not to be called now. */
  get hasJustWoken(): boolean {
    return this.#absence.sinceMs(performance.now()) < WAKE_MS;
  }

  /** Says nothing more. */
  stop(): void {
    this.#stopped = true;
    clearInterval(this.#timer);
  }

  /** Takes the last reports and gives the receive up, before MPI is left. */
  async drain(): Promise<void> {
    const endMs = performance.now() + DRAIN_MS;
    const busy = () => this.#reports.some((slot) => this.#isPending(slot));
    while (busy() && performance.now() < endMs) {
      this.receive();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    this.receive();
    if (!this.#incoming.pending) return;
    this.#mpi.cancel(this.#incoming.request);
    while (!this.#mpi.test(this.#incoming.request) && performance.now() < endMs + DRAIN_MS) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  #listen(): void {
    const { request, address: to } = this.#incoming;
    this.#mpi.receive(request, { to, byteLength: REPORT_BYTES, tag: TAG });
    this.#incoming.pending = true;
  }

  #tick(): void {
    if (this.hasJustWoken) return;
    try {
      this.receive();
      this.#send(this.#reports);
    } catch (error) {
      // What MPI reports as an error here is the loss of a rank; the next wait names it.
      this.#giveUp(this.explain(error as WorkerError));
      return;
    }
    if (this.#lost) return;
    const { abort } = this.peers;
    if (abort !== undefined) {
      const { rank, reason } = abort;
      const { phase } = this.peers.position(rank);
      this.#giveUp(new AbortedError(`Rank ${rank} ended the run: ${reason}`, { rank, phase }));
      return;
    }
    const silent = this.peers.findSilent(performance.now());
    if (silent === undefined) return;
    this.abort({ rank: this.#rank, reason: silent.message });
    this.#options.onLost(silent);
  }

  /** Reports go on: others may wait for this rank as long as it is heard of. */
  #giveUp(error: WorkerError): void {
    if (this.#lost) return;
    this.#lost = true;
    this.#options.onLost(error);
  }

  /** Says once that this rank knows that the run ends. */
  #takeLeave(): void {
    if (this.#stopped || this.#hasTakenLeave) return;
    this.#hasTakenLeave = true;
    this.#sendOnce(this.#farewells);
  }

  /** Says something to all that can be reached, whoever cannot. */
  #sendOnce(slots: readonly Slot[]): void {
    for (const rank of slots.keys()) quietly(() => this.#send(slots, [rank]));
  }

  #makeEnding(): Ending {
    const patience = () => Math.min(MAX_SILENCE_MS, this.#timeoutMs);
    return new Ending({
      ...{ rank: this.#rank, peers: this.peers, isCutOff: false },
      get patienceMs() {
        return patience();
      },
      hear: () => quietly(() => this.#stopped || this.receive()),
      say: () => this.#stopped || this.#sendOnce(this.#lastWords),
      flush: () => this.#flush(),
    });
  }

  /** Lets what is sent once leave this process. */
  async #flush(): Promise<void> {
    const endMs = performance.now() + FLUSH_MS;
    const once = [...this.#farewells, ...this.#lastWords];
    const isBusy = () => quietly(() => once.filter((slot) => this.#isPending(slot)).length > 0);
    while (!this.#stopped && performance.now() < endMs && isBusy() === true) {
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Sends this rank's report, to all or to some, in the slots that are free. */
  #send(slots: readonly Slot[], to: Iterable<number> = slots.keys()): void {
    const report = this.peers.report(this.#options.status, this.#options.epoch());
    for (const rank of to) {
      const slot = slots[rank];
      if (slot === undefined || rank === this.#rank || this.#isPending(slot)) continue;
      const byteLength = writeReport(report, slot.bytes);
      this.#mpi.send(slot.request, { from: slot.address, byteLength, rank, tag: TAG });
      slot.pending = true;
    }
  }

  #isPending(slot: Slot): boolean {
    if (slot.pending && this.#mpi.test(slot.request)) slot.pending = false;
    return slot.pending;
  }
}

/** What it gives; undefined where a connection is broken, which is silence. */
function quietly<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if (error instanceof WorkerError) return undefined;
    throw error;
  }
}

/** One message that comes; to each rank reports, that the run ends, and that the user knows why. */
function slotCount(size: number): number {
  return 1 + 3 * size;
}

function pace(timeoutMs: number): { intervalMs: number; maxStepMs: number } {
  const intervalMs = Math.min(MAX_INTERVAL_MS, timeoutMs / 6);
  return { intervalMs, maxStepMs: 2 * intervalMs };
}

function makeSlot(memory: ControlOptions["memory"], index: number): Slot {
  const start = index * SLOT_BYTES;
  return {
    request: memory.address + BigInt(start),
    address: memory.address + BigInt(start + 64),
    bytes: memory.bytes.subarray(start + 64, start + SLOT_BYTES),
    pending: false,
  };
}
