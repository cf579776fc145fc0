/**
 * Prints the measurements of a bench when they are there, in the form that is asked for.
 *
 * @module
 */
import { invariant } from "../../lib/errors.ts";
import { appendLine, type BenchOptions, type BenchOutput } from "./options.ts";
import {
  DECODE_HEADER,
  decodeText,
  detailsJson,
  headText,
  memoryText,
  type ModeReport,
  PREFILL_HEADER,
  prefillText,
  timesJson,
} from "./report.ts";
import { decodeRow, prefillRow, RowPrinter } from "./rows.ts";
import type { DecodeTiming, PrefillTiming } from "./timings.ts";

/** What a mode took, when it is closed. */
export type ModeMemory = Pick<ModeReport, "rssMib" | "deviceMib" | "copyGbPerS" | "readGbPerS">;

/** A mode before anything is measured. */
export type OpenMode = Omit<ModeReport, "prefill" | "decode" | keyof ModeMemory>;

const UNKNOWN: ModeMemory = {
  rssMib: NaN,
  deviceMib: NaN,
  copyGbPerS: NaN,
  readGbPerS: NaN,
};

/** Takes measurements, mode by mode. */
export class BenchPrinter {
  readonly #options: BenchOptions;
  readonly #output: BenchOutput;
  readonly #rows: RowPrinter | undefined;
  readonly #reports: ModeReport[] = [];
  #isEnded = false;

  constructor(options: BenchOptions, output: BenchOutput) {
    const { format = "table", json } = options;
    this.#options = options;
    this.#output = output;
    this.#rows = json || format === "table"
      ? undefined
      : new RowPrinter(format, (text) => output.print(text));
  }

  /** The modes so far; rates are measured once, behind all. */
  get reports(): ModeReport[] {
    const { copyGbPerS, readGbPerS } = this.#reports.at(-1) ?? UNKNOWN;
    return this.#reports.map((report) => ({ ...report, copyGbPerS, readGbPerS }));
  }

  /** Begins a mode. */
  open(mode: OpenMode): void {
    const report = { ...mode, ...UNKNOWN, prefill: [], decode: [] };
    this.#reports.push(report);
    this.#text(() => headText(report));
  }

  addPrefill(timing: PrefillTiming): void {
    const report = this.#change(({ prefill }) => ({ prefill: [...prefill, timing] }));
    const header = report.prefill.length === 1 ? PREFILL_HEADER : "";
    this.#text(() => header + prefillText(timing));
    this.#rows?.add(prefillRow(report, timing));
  }

  addDecode(timing: DecodeTiming): void {
    const report = this.#change(({ decode }) => ({ decode: [...decode, timing] }));
    const header = report.decode.length === 1 ? DECODE_HEADER : "";
    this.#text(() => header + decodeText(report, timing));
    this.#rows?.add(decodeRow(report, timing));
  }

  /** Ends a mode. */
  close(memory: ModeMemory): void {
    const report = this.#change(() => memory);
    this.#text(() => memoryText(report));
  }

  /**
   * Writes what is written behind all modes; a second call does nothing.
   *
   * @throws {FileError} If a file cannot be written.
   */
  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#rows?.end();
    const measured = this.reports.filter(({ prefill, decode }) =>
      prefill.length + decode.length > 0
    );
    if (this.#options.json) {
      for (const report of measured) {
        this.#output.print(`${detailsJson(report)}\n${timesJson(report)}\n`);
      }
    }
    for (const report of measured) await appendLine(this.#options.jsonPath, detailsJson(report));
  }

  #change(change: (report: ModeReport) => Partial<ModeReport>): ModeReport {
    const last = this.#reports.length - 1;
    const before = this.#reports[last];
    invariant(before !== undefined, "a mode is opened first");
    const report = { ...before, ...change(before) };
    this.#reports[last] = report;
    return report;
  }

  /** Only a table has lines for people. */
  #text(textOf: () => string): void {
    if (this.#rows === undefined && !this.#options.json) this.#output.print(textOf());
  }
}
