/**
 * A sweep in a report: curves, and the scores of all settings.
 *
 * @module
 */
import { basename } from "node:path";
import { formatMean, type MeanScore } from "../../ruler/scores.ts";
import type { Sweep, SweepRow } from "../sweep/results.ts";
import { type Html, markup, NOTHING, table } from "./markup.ts";
import type { Chart, ReportPart } from "./part.ts";
import { sweepChart, type SweepCost, sweepPoints, type SweepValue } from "./sweep_charts.ts";

const CAPTIONS: Readonly<Record<SweepValue, string>> = {
  score: "A line for each method, a point for each setting; bars are one standard error of the " +
    "mean over the tasks, from a bootstrap over the samples. Dashed: all tiles and all keys.",
  delta: "The same samples with all tiles subtracted, so that what makes one hard for both drops " +
    "out: bars are one standard error of the mean of these differences.",
};

/** @param index Tells several sweeps of a page apart. */
export function sweepPart(sweep: Sweep, index: number): ReportPart {
  const { folder, rows } = sweep;
  // Where all keys are read everywhere, a chart of that says nothing.
  const choosesKeys = rows.some(({ setting: { decode_keep: keep = 1 } }) => keep !== 1);
  const costs: readonly SweepCost[] = choosesKeys ? ["density", "keys"] : ["density"];
  const charts = costs.flatMap((cost) => chartsOf(rows, cost));
  const name = basename(folder);
  return {
    id: `sweep-${index}`,
    link: `Sweep ${name}`,
    title: `Sweep ${name}`,
    charts,
    tasks: tasksOf(rows),
    sessions: sweep.record.sessions ?? [],
    body: (figures) => markup`${figures}${tables(rows)}${runDetails(sweep)}`,
  };
}

/** Scores and differences against a cost. */
function chartsOf(rows: readonly SweepRow[], cost: SweepCost): Chart[] {
  const values = ["score", "delta"] as const;
  const all = values.map((value) => sweepPoints(rows, { value, cost }));
  const methods = [...new Set(all.flat().map(({ method }) => method))];
  return values.flatMap((value, i): Chart[] => {
    const points = all[i] ?? [];
    if (points.length === 0) return [];
    const what = value === "score" ? "Mean score" : "Score less that of all tiles";
    return [{
      spec: sweepChart(points, { value, cost, methods }),
      name: `${what} against the share of ${cost === "keys" ? "keys read" : "tiles computed"}`,
      caption: CAPTIONS[value],
    }];
  });
}

/** A table for each length. */
function tables(rows: readonly SweepRow[]): readonly Html[] {
  const lengths = [...new Set(rows.map(({ length }) => length))];
  return lengths.map((length) => {
    const own = rows.filter((row) => row.length === length);
    const tasks = tasksOf(own);
    const title = `${length.toLocaleString("en")} tokens`;
    const head = markup`<tr><th scope="col">setting</th>${
      ["samples", "tiles", "mean", "less all tiles", "s a sample", ...tasks].map((text) =>
        markup`<th scope="col">${text}</th>`
      )
    }</tr>`;
    const body = own.map((row) => settingRow(row, tasks));
    return markup`<h3>${title}</h3>${table(`Scores at ${title}`, { head, body })}`;
  });
}

/** All tasks that some settings ran. */
function tasksOf(rows: readonly SweepRow[]): string[] {
  return [...new Set(rows.flatMap((row) => row.tasks.map(({ task }) => task)))];
}

function settingRow(row: SweepRow, tasks: readonly string[]): Html {
  const taskMeans = tasks.map((task) => row.tasks.find((one) => one.task === task)?.mean);
  return markup`<tr><th scope="row">${row.name}</th><td>${row.sampleCount}</td><td>${
    row.density.toFixed(3)
  }</td>${meanCell(row.mean)}${meanCell(row.delta)}<td>${row.seconds.toFixed(3)}</td>${
    taskMeans.map(meanCell)
  }</tr>`;
}

function meanCell(mean: MeanScore | undefined): Html {
  if (mean === undefined) return markup`<td></td>`;
  const [value = "", error] = formatMean(mean).split(" ± ");
  const part = error === undefined ? NOTHING : markup` <span class="pm">± ${error}</span>`;
  return markup`<td>${value}${part}</td>`;
}

function runDetails({ record }: Sweep): Html {
  return markup`
    <details>
      <summary>What the sweep was made with</summary>
      <pre>${JSON.stringify(record, null, 2)}</pre>
    </details>
  `;
}
