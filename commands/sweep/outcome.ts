/**
 * What a sweep leaves besides records: `sweep.csv`, `tasks.csv`, a table and a report.
 *
 * @module
 */
import { errorText } from "../../lib/errors.ts";
import { replaceFile } from "../../lib/files.ts";
import { formatCsv } from "../../ruler/csv.ts";
import { formatMean, type MeanScore } from "../../ruler/scores.ts";
import { RunLock } from "../shared/run_lock.ts";
import type { Screen } from "../shared/screen.ts";
import { alignedTable } from "../shared/text_table.ts";
import { AXES, type AxisName } from "./axes.ts";
import { readSweep, type Sweep, type SweepRow } from "./results.ts";
import type { SweepState } from "./worker.ts";

/** Others write small files, or a report. */
const LOCK_MS = 120_000;

/**
 * Writes the tables, and where all units are finished the report, and shows the scores. Of several
 * processes the last one finds everything.
 *
 * @throws {FileError} If a file cannot be read or written.
 */
export async function showResults(
  state: SweepState,
  options: { screen: Screen; withReport?: boolean | undefined },
): Promise<void> {
  const { screen, withReport = false } = options;
  const { folder: { path }, unitCount, finishedCount } = state;
  const isWhole = finishedCount === unitCount;
  await using lock = await RunLock.tryTake(`${path}/results.lock`, {
    timeoutMs: isWhole ? LOCK_MS : 0,
  });
  if (lock === undefined) return screen.log(`${path}: another process writes the tables`);
  const sweep = await readSweep(path);
  await writeTables(sweep);
  if (sweep.rows.length > 0) screen.print(scoresText(sweep));
  const left = unitCount - finishedCount;
  screen.log(
    isWhole
      ? `Results: ${path}/sweep.csv`
      : `Results so far: ${path}/sweep.csv; ${left} of ${unitCount} units are not finished (other ` +
        "processes run them, or the same command does)",
  );
  if (!isWhole || !withReport) return;
  // A sweep succeeds without its report, which needs packages that a machine may not get.
  try {
    const { writeReport } = await import("../report/report.ts");
    const outputPath = `${path}/report.html`;
    await writeReport({ folders: [path], outputPath });
    screen.log(`Report: ${outputPath}`);
  } catch (error) {
    screen.log(`No report: ${errorText(error)}`);
  }
}

/** Writes `sweep.csv` and `tasks.csv`. @throws {FileError} If one cannot be written. */
async function writeTables(sweep: Sweep): Promise<void> {
  await replaceFile(`${sweep.folder}/sweep.csv`, [sweepCsv(sweep.rows)]);
  await replaceFile(`${sweep.folder}/tasks.csv`, [tasksCsv(sweep.rows)]);
}

/** Options that are told of a setting: what was asked, and of tables their digest. */
function optionCells({ setting, options }: SweepRow): string[] {
  const { threshold } = options;
  const isTable = typeof threshold === "string" && threshold !== setting.threshold;
  const table = isTable ? threshold : "";
  return [
    setting.attn_type,
    ...AXES.map(({ name }: { name: AxisName }) => String(setting[name] ?? "")),
    table,
  ];
}

/** Columns of options; `density` alone is the share that was computed, here as in all tables. */
const OPTION_NAMES = [
  "attn_type",
  ...AXES.map(({ name }) => name === "density" ? "asked_density" : name),
  "table",
] as const;

const number = (value: number | undefined, digits = 4): string =>
  value === undefined || !Number.isFinite(value) ? "" : String(Number(value.toFixed(digits)));
const meanCells = (mean: MeanScore | undefined): string[] => [
  number(mean?.mean),
  number(mean?.stderr),
];

/** A row for each setting and length. */
function sweepCsv(rows: readonly SweepRow[]): string {
  const header = [
    ...["setting", ...OPTION_NAMES, "length", "tasks", "samples", "score", "stderr", "density"],
    ...["seconds", "exact", "delta", "delta_stderr"],
  ];
  const lines = rows.map((row) => [
    ...[row.name, ...optionCells(row), String(row.length), String(row.tasks.length)],
    ...[String(row.sampleCount), ...meanCells(row.mean), number(row.density)],
    ...[number(row.seconds), row.exact, ...meanCells(row.delta)],
  ]);
  return formatCsv([header, ...lines]);
}

/** A row for each setting, length and task. */
function tasksCsv(rows: readonly SweepRow[]): string {
  const header = [
    ...["setting", "length", "task", "samples", "score", "stderr", "density", "seconds"],
  ];
  const lines = rows.flatMap(({ name, length, tasks }) =>
    tasks.map(({ task, sampleCount, mean, density, seconds }) => [
      ...[name, String(length), task, String(sampleCount), ...meanCells(mean)],
      ...[number(density), number(seconds)],
    ])
  );
  return formatCsv([header, ...lines]);
}

/** For people: settings in rows, one length after the other. */
function scoresText({ rows }: Sweep): string {
  const header = ["setting", "length", "samples", "score", "less exact", "tiles", "s a sample"];
  const cells = rows.map((row) => [
    ...[row.name, String(row.length), String(row.sampleCount)],
    row.mean === undefined ? "n/a" : formatMean(row.mean),
    row.delta === undefined ? "" : formatMean(row.delta),
    row.density.toFixed(3),
    row.seconds.toFixed(3),
  ]);
  return alignedTable([header, ...cells]);
}
