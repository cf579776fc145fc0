/**
 * What processes of `deno test` ran and said.
 *
 * @module
 */

/** What a process counted. */
export interface Outcome {
  readonly passed: number;
  readonly failed: number;
  readonly ignored: number;
  /** What failed, as Deno lists it. */
  readonly failures: readonly string[];
}

/** Files of these folders take long: they begin first, each in a process of its own. */
const LONG = ["tests/e2e/", "tests/gpu/", "tests/lib/", "tests/commands/", "tests/kernels/"];
/** What is to last, so that no process waits long for another. */
const GROUP_FILES = 8;
const COUNTS = /^(?:ok|FAILED) \| (\d+) passed\b.*? \| (\d+) failed\b(?:.*? \| (\d+) ignored\b)?/gm;
const FAILURES = /^ FAILURES \n\n([\s\S]*?)\n\n/gm;
// deno-lint-ignore no-control-regex
const COLOURS = /\x1b\[[\d;]*m/g;

/** Divides files among processes, those first that take long. */
export function groupsOf(files: readonly string[]): string[][] {
  const orderOf = (file: string): number => {
    const index = LONG.findIndex((folder) => file.startsWith(folder));
    return index < 0 ? LONG.length : index;
  };
  const ordered = files.toSorted((a, b) => orderOf(a) - orderOf(b) || (a < b ? -1 : 1));
  const shortFrom = ordered.filter((file) => orderOf(file) < LONG.length).length;
  const groups = ordered.slice(0, shortFrom).map((file) => [file]);
  for (let at = shortFrom; at < ordered.length; at += GROUP_FILES) {
    groups.push(ordered.slice(at, at + GROUP_FILES));
  }
  return groups;
}

/** Reads what `deno test` printed; a process that ended without counting is a failure of its files. */
export function outcomeOf(
  text: string,
  options: { success: boolean; files: readonly string[] },
): Outcome {
  const { success, files } = options;
  const plain = text.replaceAll(COLOURS, "");
  const [, passed, failed = "0", ignored = "0"] = [...plain.matchAll(COUNTS)].at(-1) ?? [];
  const failures = [...plain.matchAll(FAILURES)].flatMap(([, lines = ""]) => lines.split("\n"));
  const counts = { passed: Number(passed ?? 0), failed: Number(failed), ignored: Number(ignored) };
  if (passed !== undefined && success === (counts.failed === 0)) return { ...counts, failures };
  const lost = `${files.join(" ")} (the process ended otherwise than it counted)`;
  return { ...counts, failed: counts.failed + 1, failures: [...failures, lost] };
}

/** The sums. */
export function totalOf(outcomes: readonly Outcome[]): Outcome {
  const sum = (of: (outcome: Outcome) => number) =>
    outcomes.reduce((total, outcome) => total + of(outcome), 0);
  return {
    passed: sum(({ passed }) => passed),
    failed: sum(({ failed }) => failed),
    ignored: sum(({ ignored }) => ignored),
    failures: outcomes.flatMap(({ failures }) => failures),
  };
}

/** What failed, and the counts in Deno's form. */
export function summary(total: Outcome, options: { seconds: number }): string {
  const { passed, failed, ignored, failures } = total;
  const listed = failures.length === 0 ? "" : `\n FAILURES \n\n${failures.join("\n")}\n`;
  const seconds = Math.round(options.seconds);
  const duration = seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  const skipped = ignored === 0 ? "" : ` | ${ignored} ignored`;
  const verdict = failed === 0 ? "ok" : "FAILED";
  return `${listed}\n${verdict} | ${passed} passed | ${failed} failed${skipped} (${duration})\n`;
}
