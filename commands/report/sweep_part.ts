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
import { sweepChart, sweepPoints, type SweepValue } from "./sweep_charts.ts";

const CAPTIONS: Readonly<Record<SweepValue, string>> = {
  score: "A line for each method, a point for each setting; bars are one standard error of the " +
    "mean over the tasks, from a bootstrap over the samples. Dashed: all tiles.",
  delta: "The same samples with all tiles subtracted, so that what makes one hard for both drops " +
    "out: bars are one standard error of the mean of these differences.",
};

/** @param index Tells several sweeps of a page apart. */
export function sweepPart(sweep: Sweep, index: number): ReportPart {
  const { folder, rows } = sweep;
  const methods = [...new Set(rows.map(({ method }) => method))];
  const charts = (["score", "delta"] as const).flatMap((value): Chart[] => {
    const points = sweepPoints(rows, value);
    if (points.length === 0) return [];
    return [{
      spec: sweepChart(points, { value, methods }),
      name: value === "score"
        ? "Mean score against the share of tiles computed"
        : "Score less that of all tiles against the share of tiles computed",
      caption: CAPTIONS[value],
    }];
  });
  const name = basename(folder);
  return {
    id: `sweep-${index}`,
    link: `Sweep ${name}`,
    title: `Sweep ${name}`,
    charts,
    sessions: sweep.record.sessions ?? [],
    body: (figures) => markup`${figures}${tables(rows)}${runDetails(sweep)}`,
  };
}

/** A table for each length. */
function tables(rows: readonly SweepRow[]): readonly Html[] {
  const lengths = [...new Set(rows.map(({ length }) => length))];
  return lengths.map((length) => {
    const own = rows.filter((row) => row.length === length);
    const tasks = [...new Set(own.flatMap((row) => row.tasks.map(({ task }) => task)))];
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
