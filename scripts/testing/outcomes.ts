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
  /** Why, one text each: the name and what was said about it, some lines of it. */
  readonly reasons: readonly string[];
}

/** Files of these folders take long: they begin first, each in a process of its own. */
const LONG = ["tests/e2e/", "tests/gpu/", "tests/lib/", "tests/commands/", "tests/kernels/"];
/** What is to last, so that no process waits long for another. */
const GROUP_FILES = 8;
/** Of what a test says when it fails; three of them and the counts are in the last 60 lines of a log. */
const REASON_LINES = 14;
const LINE_CHARACTERS = 400;
/** Whoever has more failures than that reads the whole log. */
const MOST_REASONS = 12;
/** Places of the test; those of the runtime and of the assertion itself tell nothing. */
const STACK_LINES = 2;
const NO_PLACE = /\(ext:|\/helpers\/assert\.ts:/;
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

/**
 * Reads what `deno test` printed; a process that ended without counting is a failure of its files.
 *
 * @param text Standard output.
 * @param options `errors`: standard error. Default: nothing.
 */
export function outcomeOf(
  text: string,
  options: { success: boolean; files: readonly string[]; errors?: string },
): Outcome {
  const { success, files, errors = "" } = options;
  const plain = text.replaceAll(COLOURS, "");
  const [, passed, failed = "0", ignored = "0"] = [...plain.matchAll(COUNTS)].at(-1) ?? [];
  const failures = [...plain.matchAll(FAILURES)].flatMap(([, lines = ""]) => lines.split("\n"));
  const counts = { passed: Number(passed ?? 0), failed: Number(failed), ignored: Number(ignored) };
  const reasons = reasonsOf(plain, failures);
  if (passed !== undefined && success === (counts.failed === 0)) {
    return { ...counts, failures, reasons };
  }
  const lost = `${files.join(" ")} (the process ended otherwise than it counted)`;
  const lines = `${plain}\n${errors.replaceAll(COLOURS, "")}`.split("\n")
    .filter((line) => line.trim() !== "");
  const last = [lost, ...lines.slice(-REASON_LINES).map(shortened)].join("\n");
  return {
    ...counts,
    failed: counts.failed + 1,
    failures: [...failures, lost],
    reasons: [...reasons, last],
  };
}

/** What is said about each test that failed: Deno shows its name, and then its error. */
function reasonsOf(plain: string, failures: readonly string[]): string[] {
  const starts = failures.map((name) => plain.lastIndexOf(`\n${name}\nerror: `))
    .filter((start) => start >= 0).toSorted((a, b) => a - b);
  const end = plain.lastIndexOf("\n FAILURES \n");
  return starts.map((start, index) => {
    const [name = "", ...lines] = plain.slice(start + 1, starts[index + 1] ?? end).trimEnd()
      .split("\n");
    return [name, ...fewOf(lines)].join("\n");
  });
}

/** The lines of an error that tell the most: its first ones, and where it was thrown. */
function fewOf(lines: readonly string[]): string[] {
  const isStack = (line: string) => line.startsWith("    at ");
  const places = lines.filter((line) => isStack(line) && !NO_PLACE.test(line));
  const stack = places.slice(0, STACK_LINES);
  const said = lines.filter((line) => !isStack(line) && line.trim() !== "");
  const most = REASON_LINES - stack.length;
  const isLong = said.length > most;
  const first = isLong ? said.slice(0, most - 1) : said;
  const left = isLong ? [`... (${said.length - first.length} more lines above)`] : [];
  return [...first, ...left, ...stack].map(shortened);
}

function shortened(line: string): string {
  return line.length > LINE_CHARACTERS ? `${line.slice(0, LINE_CHARACTERS)}...` : line;
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
    reasons: outcomes.flatMap(({ reasons }) => reasons),
  };
}

/** Why tests failed, which ones, and the counts in Deno's form. */
export function summary(total: Outcome, options: { seconds: number }): string {
  const { passed, failed, ignored, failures, reasons } = total;
  const shown = reasons.slice(0, MOST_REASONS);
  if (reasons.length > shown.length) shown.push(`... (${reasons.length - shown.length} more)`);
  const why = shown.length === 0 ? "" : `\n ERRORS \n\n${shown.join("\n\n")}\n`;
  const listed = failures.length === 0 ? "" : `\n FAILURES \n\n${failures.join("\n")}\n`;
  const seconds = Math.round(options.seconds);
  const duration = seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
  const skipped = ignored === 0 ? "" : ` | ${ignored} ignored`;
  const verdict = failed === 0 ? "ok" : "FAILED";
  const counts = `${verdict} | ${passed} passed | ${failed} failed${skipped} (${duration})`;
  return `${why}${listed}\n${counts}\n`;
}
