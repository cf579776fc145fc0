/**
 * How far a run of samples is: a bar on a terminal, a line now and then elsewhere.
 *
 * @module
 */
import type { Progress } from "../../lib/star/request.ts";
import type { Screen } from "./screen.ts";

const BAR_CELLS = 24;
/** Faster changes are not seen. */
const DRAW_MS = 100;
/** Between two lines where no bar is drawn. */
const LINE_MS = 15_000;
/** Share of a sample's time that phase 1 takes, roughly; only the bar's smoothness needs it. */
const PHASE_1_SHARE = 0.8;

/** Counts samples and shows where the run is. */
export class RunProgress {
  readonly #screen: Screen;
  #totalCount: number;
  readonly #startMs = performance.now();
  #doneCount = 0;
  #runCount = 0;
  #label = "";
  #score = "";
  /** The samples in progress, by their names. */
  readonly #running = new Map<string, Progress>();
  /** When the first token of those in progress came, and how many came behind it. */
  #tokens: { ms: number; count: number } | undefined;
  #shownMs = performance.now();

  /** @param options `totalCount`: how many samples there are, finished ones included. */
  constructor(screen: Screen, options: { totalCount: number }) {
    this.#screen = screen;
    this.#totalCount = options.totalCount;
  }

  /** Names what runs now, for example the task and its length. */
  set label(text: string) {
    this.#label = text;
  }

  /** What the samples of the label scored so far, for example `95.0 ± 2.2`; may be empty. */
  set score(text: string) {
    this.#score = text;
  }

  /** Corrects the number of samples when more or fewer turn out to be there. */
  expect(options: { moreCount: number }): void {
    this.#totalCount += options.moreCount;
  }

  /** Counts samples that an earlier run finished. */
  skip(count: number): void {
    this.#doneCount += count;
  }

  /** Where a sample in progress is; several may be at once, each with a name of its own. */
  update(progress: Progress, name = ""): void {
    const before = this.#running.get(name);
    this.#running.set(name, progress);
    this.#count(progress.generatedTokens - (before?.generatedTokens ?? 0));
    const parts = [...this.#running.values()].map(partOf);
    const part = parts.reduce((sum, part) => sum + part, 0);
    this.#show({ part, detail: this.#detail(progress) });
  }

  /** Counts one sample as finished. */
  finishSample(name = ""): void {
    this.#doneCount++;
    this.#runCount++;
    this.#running.delete(name);
    if (this.#running.size === 0) this.#tokens = undefined;
    this.#show({ part: 0, detail: "" });
  }

  #count(moreTokens: number): void {
    if (moreTokens <= 0) return;
    if (this.#tokens === undefined) this.#tokens = { ms: performance.now(), count: 0 };
    else this.#tokens.count += moreTokens;
  }

  /** `phase 2, 96 tokens, 41.3 tokens/s`, or `5 at once, 180.1 tokens/s`. */
  #detail({ phase, generatedTokens: count }: Progress): string {
    const { size } = this.#running;
    const rate = this.#tokens === undefined
      ? 0
      : this.#tokens.count / ((performance.now() - this.#tokens.ms) / 1000);
    const rateText = Number.isFinite(rate) && rate > 0 ? `, ${rate.toFixed(1)} tokens/s` : "";
    if (size > 1) return `${size} at once${rateText}`;
    if (phase === "phase 1" || count === 0) return phase;
    return `${phase}, ${count} token${count === 1 ? "" : "s"}${rateText}`;
  }

  #show(now: { part: number; detail: string }): void {
    const { isTerminal } = this.#screen;
    const timeMs = performance.now();
    if (timeMs - this.#shownMs < (isTerminal ? DRAW_MS : LINE_MS)) return;
    this.#shownMs = timeMs;
    const left = this.#timeLeft(now.part);
    const count = `${this.#doneCount}/${this.#totalCount} samples`;
    const tail = [count, this.#label, this.#score, now.detail, left].filter((text) => text !== "")
      .join(", ");
    if (!isTerminal) return this.#screen.log(tail);
    const share = (this.#doneCount + now.part) / Math.max(1, this.#totalCount);
    const filled = Math.min(BAR_CELLS, Math.round(share * BAR_CELLS));
    this.#screen.bar(`[${"#".repeat(filled)}${"-".repeat(BAR_CELLS - filled)}] ${tail}`);
  }

  /** By the mean of what ran so far; nothing before the first sample is done. */
  #timeLeft(part: number): string {
    if (this.#runCount === 0) return "";
    const seconds = (performance.now() - this.#startMs) / 1000;
    const perSample = seconds / (this.#runCount + part);
    return `${formatDuration(perSample * (this.#totalCount - this.#doneCount - part))} left`;
  }
}

/** How much of a sample is done, 0 to 1. */
function partOf({ phase, fraction }: Progress): number {
  return phase === "phase 1"
    ? fraction * PHASE_1_SHARE
    : PHASE_1_SHARE + fraction * (1 - PHASE_1_SHARE);
}

/** A time as people read it: `42 s`, `3 min 05 s`, `2 h 07 min`. */
export function formatDuration(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const two = (value: number) => String(value).padStart(2, "0");
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min ${two(whole % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${two(minutes % 60)} min`;
}
