/**
 * Makes the README's table of scores: runs RULER in every attention mode and shows mean scores, the
 * share of the whole context's tiles that was computed, and seconds per sample as Markdown. What is
 * finished is kept.
 *
 *     deno task table --source_dir FOLDER [--output_dir FOLDER] [--jobs N] [-d FOLDER]
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  addStatistics,
  EMPTY_STATISTICS,
  readStatistics,
  type Statistics,
} from "../commands/ruler/log.ts";
import { experimentFolder } from "../commands/ruler/ruler.ts";
import { type AttentionMode, checkPlan } from "../lib/attention/plan.ts";
import { errorText } from "../lib/errors.ts";

/** One mode of the table; sizes of blocks follow from the length. */
interface Row {
  readonly name: string;
  readonly label: string;
  readonly mode: AttentionMode;
  readonly flags: readonly string[];
  /** Whether tiles are selected by shares that lie beside the model for its length. @default {false} */
  readonly byShares?: boolean;
}

const MODEL = "models/starx-tiny";
const ALONE = ["--threads", "2", "-np", "1"];
const CORES = ["--threads", "1", "-np", "2"];
const ROWS: readonly Row[] = [
  { name: "dense", label: "dense", mode: "dense", flags: ALONE },
  { name: "xattn", label: "xattn", mode: "xattn", flags: ALONE },
  { name: "xattn-shares", label: "xattn, shares", mode: "xattn", flags: ALONE, byShares: true },
  { name: "star", label: "star", mode: "star", flags: CORES },
  { name: "starx", label: "starx", mode: "starx", flags: CORES },
  { name: "starx-shares", label: "starx, shares", mode: "starx", flags: CORES, byShares: true },
  {
    name: "antidiagonal",
    label: "star, `--merge antidiagonal`, 4 ranks",
    mode: "star",
    flags: ["--merge", "antidiagonal", "--threads", "1", "-np", "4"],
  },
];
const LENGTHS: readonly number[] = [4096, 8192];
const TASKS: readonly string[] = [
  ...["niah_single_1", "niah_single_2", "niah_single_3"],
  ...["niah_multikey_1", "niah_multikey_2", "niah_multikey_3"],
  ...["niah_multivalue", "niah_multiquery", "vt", "fwe"],
];
const SAMPLES = 20;

/** The outcome of one mode at one length. */
interface Outcome {
  readonly row: Row;
  readonly length: number;
  /** By task. */
  readonly scores: ReadonlyMap<string, number>;
  readonly statistics: Statistics;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs the command line. @returns The exit code. */
async function main(args: string[]): Promise<number> {
  const encoder = new TextEncoder();
  try {
    const { values } = parseArgs({
      args,
      options: {
        output_dir: { type: "string", default: "results/table" },
        source_dir: { type: "string" },
        jobs: { type: "string", default: "1" },
      },
    });
    const { output_dir: outputDir, source_dir: sourceDir } = values;
    const outcomes = await runAll({ outputDir, sourceDir, jobs: Number(values.jobs) });
    await Deno.stdout.write(encoder.encode(formatTable(outcomes)));
    return 0;
  } catch (error) {
    await Deno.stderr.write(encoder.encode(`error: ${errorText(error)}\n`));
    return 1;
  }
}

/** Runs every mode at every length, the longest first, `jobs` at a time. */
async function runAll(
  options: { outputDir: string; sourceDir: string | undefined; jobs: number },
): Promise<Outcome[]> {
  const all = LENGTHS.toReversed().flatMap((length) => ROWS.map((row) => ({ row, length })));
  const waiting = all.filter(({ row, length }) => row.byShares !== true || hasShares(row, length));
  const outcomes: Outcome[] = [];
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      outcomes.push(await runOne(next, options));
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, work));
  return outcomes;
}

/** Whether shares for a row lie beside the model. */
function hasShares(row: Row, length: number): boolean {
  try {
    return Deno.statSync(new URL(`../${sharesPath(row, length)}`, import.meta.url)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function sharesPath({ mode }: Row, length: number): string {
  return `${MODEL}/shares/${mode}-${length}.json`;
}

async function runOne(
  run: { row: Row; length: number },
  options: { outputDir: string; sourceDir: string | undefined },
): Promise<Outcome> {
  const { row, length } = run;
  const block = String(length / 4);
  const threshold = row.byShares === true ? sharesPath(row, length) : "0.95";
  const { success, code } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["task", "--quiet", "ruler", "-n", row.name, "-p", MODEL, "-pc", "llama3"],
      ...["-a", row.mode],
      ...["-l", String(length), "-bs", block, "-as", block, "--stride", "16"],
      ...["--threshold", threshold, "--num_samples_per_task", String(SAMPLES), "-t", ...TASKS],
      ...["--output_dir", options.outputDir, ...row.flags],
      ...(options.sourceDir === undefined ? [] : ["--source_dir", options.sourceDir]),
    ],
    cwd: fileURLToPath(new URL("..", import.meta.url)),
    stdout: "inherit",
    stderr: "inherit",
  }).output();
  if (!success) throw new Error(`Cannot finish ${row.name} at ${length}: exit code ${code}`);
  return await readOutcome(run, options.outputDir);
}

/** What a finished run left in its folder. */
async function readOutcome(
  run: { row: Row; length: number },
  outputDir: string,
): Promise<Outcome> {
  const { row, length } = run;
  const plan = checkPlan({ mode: row.mode, blockTokens: length / 4 });
  const folder = `${experimentFolder({ outputDir, modelName: row.name, plan })}/${length}`;
  const [, names, values] = (await Deno.readTextFile(`${folder}/summary.csv`)).split("\n")
    .map((line) => line.split(","));
  const scores = new Map(TASKS.map((task) => {
    const score = Number(values?.[names?.indexOf(task) ?? -1]);
    if (Number.isNaN(score)) throw new Error(`Cannot find the score of ${task} in ${folder}`);
    return [task, score];
  }));
  let statistics = EMPTY_STATISTICS;
  for (const task of TASKS) {
    const log = `${folder}/logs/${task}/samples.jsonl`;
    statistics = addStatistics(statistics, await readStatistics(log));
  }
  return { row, length, scores, statistics };
}

/** One Markdown table per length: a row per mode, the mean first. */
function formatTable(outcomes: readonly Outcome[]): string {
  const lines: string[] = [];
  for (const length of LENGTHS) {
    lines.push("", `${length} tokens:`, "");
    lines.push(`| mode | mean | tiles computed | s per sample | ${TASKS.join(" | ")} |`);
    lines.push(`| --- |${" --: |".repeat(3 + TASKS.length)}`);
    for (const row of ROWS) {
      const outcome = outcomes.find((other) => other.row === row && other.length === length);
      if (outcome !== undefined) lines.push(formatRow(outcome));
    }
  }
  return `${lines.slice(1).join("\n")}\n`;
}

function formatRow({ row, scores, statistics }: Outcome): string {
  const { seconds, sampleCount, share } = statistics;
  const values = [...scores.values()];
  const mean = values.reduce((sum, score) => sum + score, 0) / values.length;
  const cells = [
    row.label,
    mean.toFixed(1),
    (share / sampleCount).toFixed(2),
    (seconds / sampleCount).toFixed(2),
    ...values.map((score) => score.toFixed(0)),
  ];
  return `| ${cells.join(" | ")} |`;
}
