/**
 * Counts what became of trials, and judges how a process ended.
 *
 * @module
 */
import { EXIT_CODES } from "../../lib/errors.ts";
import type { Ended } from "./programs.ts";

/** What must not happen. */
export const FAULTS = [
  "signal",
  "hang",
  "lost",
  "doubled",
  "different",
  "trace",
  "other",
] as const;

/** Something that must not happen, and did. */
export interface Fault {
  readonly kind: typeof FAULTS[number];
  readonly text: string;
}

/** What became of a trial. */
export interface Outcome {
  /** `ended`: by a signal of ours, or as a rank was lost. */
  readonly how: "well" | "refused" | "ended";
  readonly faults: readonly Fault[];
  /** Further counts, for example of runs with a batch in flight. */
  readonly counts?: Readonly<Record<string, number>>;
}

/** Which trial it was. */
export interface TrialName {
  readonly class: string;
  /** A part of the class, for its counts. */
  readonly kind: string;
  readonly seed: string;
  readonly index: number;
  readonly what: string;
}

/** The counts of one kind. */
type Counts = Record<string, number>;

/** Counts of all classes and kinds. */
export class Tally {
  readonly #rows = new Map<string, Counts>();
  readonly #print: (line: string) => void;
  /** Whether anything happened that must not. */
  hasFaults = false;

  /** @param print Takes a line. */
  constructor(print: (line: string) => void) {
    this.#print = print;
  }

  /** Counts a trial; a fault is printed at once, with what repeats it. */
  add(trial: TrialName, outcome: Outcome): void {
    for (const row of [`${trial.class} ${trial.kind}`, trial.class]) {
      const counts = this.#rows.get(row) ?? {};
      this.#rows.set(row, counts);
      const bump = (name: string, by = 1) => counts[name] = (counts[name] ?? 0) + by;
      bump("tried");
      bump(outcome.how);
      for (const kind of new Set(outcome.faults.map(({ kind }) => kind))) bump(kind);
      for (const [name, by] of Object.entries(outcome.counts ?? {})) bump(name, by);
    }
    for (const { kind, text } of outcome.faults) {
      this.hasFaults = true;
      this.#print(
        `FAULT ${kind}: ${trial.class} ${trial.kind} (${trial.what}): ${text.slice(0, 2000)}\n` +
          `  repeat: deno task torture --class ${trial.class} --seed ${trial.seed} ` +
          `--first ${trial.index} --count 1`,
      );
    }
  }

  /** One line per class and kind. */
  lines(): string[] {
    const fixed = ["tried", "refused", "well", "ended", ...FAULTS];
    return [...this.#rows].sort(([a], [b]) => a < b ? -1 : 1).map(([row, counts]) => {
      const extra = Object.keys(counts).filter((name) => !fixed.includes(name));
      const cells = [...fixed, ...extra].map((name) => `${name} ${counts[name] ?? 0}`);
      return `${row}: ${cells.join(", ")}`;
    });
  }
}

const TRACE = /A bug in this program|^\s+at .+:\d+:\d+\)?$|Uncaught|panicked at/m;

/**
 * Judges how the program ended: well, or by one line on standard error and the right code.
 *
 * @param sent The signals that this trial sent to it.
 */
export function judge(
  ended: Pick<Ended, "code" | "signal" | "stderr" | "isLate">,
  sent: readonly string[] = [],
): Outcome {
  const { code, signal, stderr, isLate } = ended;
  const faults: Fault[] = [];
  if (isLate) return { how: "ended", faults: [{ kind: "hang", text: stderr }] };
  if (TRACE.test(stderr)) faults.push({ kind: "trace", text: stderr });
  if (signal !== null) {
    if (!sent.includes(signal)) faults.push({ kind: "signal", text: `${signal}: ${stderr}` });
    return { how: "ended", faults };
  }
  if (code === EXIT_CODES.done) return { how: "well", faults };
  if (code === EXIT_CODES.interrupted && sent.length > 0) return { how: "ended", faults };
  const errors = stderr.trimEnd().split("\n").filter((line) => line.startsWith("error: "));
  const isLast = stderr.trimEnd().split("\n").at(-1)?.startsWith("error: ") ?? false;
  const isKnown = [EXIT_CODES.usage, EXIT_CODES.file, EXIT_CODES.device, EXIT_CODES.workerLost]
    .some((known) => known === code);
  if (faults.length === 0 && (!isKnown || errors.length !== 1 || !isLast)) {
    faults.push({ kind: "other", text: `exit code ${code}: ${stderr}` });
  }
  return { how: code === EXIT_CODES.workerLost ? "ended" : "refused", faults };
}
