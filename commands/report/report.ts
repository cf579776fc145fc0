/**
 * The `report` command: experiments as one HTML file that needs nothing else.
 *
 * @module
 */
import { dirname } from "node:path";
import { type ChartSpec, drawCharts } from "../../lib/deps/vega.ts";
import { errorText, FileError } from "../../lib/errors.ts";
import { isFile, replaceFile } from "../../lib/files.ts";
import { type Experiment, readExperiment } from "../results/experiment.ts";
import { makeFolder } from "../shared/folder.ts";
import { SWEEP_FILE } from "../sweep/folder.ts";
import { readSweep } from "../sweep/results.ts";
import { VERSION } from "../shared/version.ts";
import { calibrationPart, readCalibration } from "./calibration_part.ts";
import { densityChart, depthChart, headChart, meanChart, taskCharts, timeChart } from "./charts.ts";
import { leadOf, sourceOf, titleOf } from "./heading.ts";
import { figure, type Html, markup, NOTHING, raw } from "./markup.ts";
import { readMaskSets } from "./masks.ts";
import { depthRows, headRows, MEAN, missesOf, scoreRows, timeRows } from "./model.ts";
import type { Chart, ReportPart } from "./part.ts";
import { SCRIPT } from "./script.ts";
import {
  cards,
  deltaTables,
  maskSection,
  missSection,
  runSection,
  scoreTable,
  timeTable,
} from "./sections.ts";
import { STYLE } from "./style.ts";
import { sweepPart } from "./sweep_part.ts";

/** What to report on. */
export interface ReportOptions {
  /**
   * Folders of experiments, whose differences are those from the first, and of sweeps; files of
   * `calibrate`.
   */
  readonly folders: readonly string[];
  /** The file to write. */
  readonly outputPath: string;
  /**
   * Draws charts.
   *
   * @default {drawCharts}
   */
  readonly draw?: (specs: readonly ChartSpec[]) => Promise<readonly string[]>;
}

/**
 * Writes a report.
 *
 * @throws {FileError} If results cannot be read, the charts cannot be drawn, or the file cannot be
 * written.
 */
export async function writeReport(options: ReportOptions): Promise<void> {
  const { folders, outputPath, draw = drawCharts } = options;
  const experiments: Experiment[] = [];
  const parts: ReportPart[] = [];
  for (const folder of folders) {
    const index = parts.length;
    if (await isFile(folder)) parts.push(calibrationPart(await readCalibration(folder), index));
    else if (await isSweep(folder)) parts.push(sweepPart(await readSweep(folder), index));
    else experiments.push(await readExperiment(folder));
  }
  const page = await reportPage(uniquelyNamed(experiments), { draw, parts });
  await makeFolder(dirname(outputPath));
  await replaceFile(outputPath, [page]);
}

async function isSweep(folder: string): Promise<boolean> {
  return await isFile(`${folder}/${SWEEP_FILE}`);
}

/** Two folders of one name, for example in different places, are told apart by what is above them. */
function uniquelyNamed(experiments: readonly Experiment[]): Experiment[] {
  const names = experiments.map(({ name }) => name);
  return experiments.map((experiment) => {
    const { name, folder } = experiment;
    if (names.indexOf(name) === names.lastIndexOf(name)) return experiment;
    return { ...experiment, name: folder.split("/").slice(-2).join("/") };
  });
}

/** The page. */
export async function reportPage(
  experiments: readonly Experiment[],
  options: {
    draw: (specs: readonly ChartSpec[]) => Promise<readonly string[]>;
    /** Sections about what is no experiment. */
    parts?: readonly ReportPart[];
  },
): Promise<string> {
  const { parts = [] } = options;
  const charts: Record<string, Chart> = { ...chartsOf(experiments) };
  const keyOf = ({ id }: ReportPart, index: number): string => `${id} ${index}`;
  for (const part of parts) {
    for (const [index, chart] of part.charts.entries()) charts[keyOf(part, index)] = chart;
  }
  let drawn: readonly string[];
  try {
    drawn = await options.draw(Object.values(charts).map(({ spec }) => spec));
  } catch (error) {
    throw new FileError(
      `Cannot draw the charts as npm:vega and npm:vega-lite cannot be used: ${errorText(error)}`,
      { cause: error },
    );
  }
  const figures = new Map(
    Object.entries(charts).map(([key, chart], index) => [key, figure(drawn[index] ?? "", chart)]),
  );
  const figureOf = (key: string): Html => figures.get(key) ?? NOTHING;
  const more = parts.map((part) => ({
    ...part,
    content: part.body(part.charts.map((_, index) => figureOf(keyOf(part, index)))),
  }));
  return layOut(experiments, { figureOf, masks: await masksOf(experiments), more });
}

/** The charts that there is something to show in. */
function chartsOf(experiments: readonly Experiment[]): Record<string, Chart> {
  const names = experiments.map(({ name }) => name);
  const scores = scoreRows(experiments);
  const [depths, heads, times] = [
    depthRows(experiments),
    headRows(experiments),
    timeRows(experiments),
  ];
  const charts: Record<string, Chart> = {};
  if (scores.length > 0) {
    charts.mean = {
      spec: meanChart(scores, names),
      name: "Mean score against length",
      caption:
        "Mean over the tasks; bars are one standard error, from a bootstrap over the samples.",
    };
    charts.tasks = {
      spec: taskCharts(scores, names),
      name: "Score of each task against length",
      caption: "Each task on its own, on one scale.",
    };
  }
  if (scores.some(({ density, task }) => task === MEAN && density !== undefined)) {
    charts.density = {
      spec: densityChart(scores, names),
      name: "Mean score against the share of tiles computed",
      caption:
        "To the left is less work; numbers are lengths. Dense attention computes every causal " +
        "tile of 128 x 128; the anchor of Star Attention counts.",
    };
  }
  if (depths.length > 0) {
    charts.depth = {
      spec: depthChart(depths, names),
      name: "Score by depth of the needle and length",
      caption: "Tasks with needles: where in the context the answer lies, in tenths.",
    };
  }
  if (heads.length > 0) {
    charts.heads = {
      spec: headChart(heads, names),
      name: "Density of each layer and head",
      caption:
        "The share of the causal tiles that a head took, as a mean over the samples of the " +
        "longest length. The last layer is not there: of the context, only its keys and values are " +
        "needed.",
    };
  }
  if (times.length > 0) {
    charts.time = {
      spec: timeChart(times, names),
      name: "Seconds per sample by phase",
      caption: "Means over the samples; of several processes the slowest counts, and of samples " +
        "that run at once each has its share of the time.",
    };
  }
  return charts;
}

async function masksOf(experiments: readonly Experiment[]): Promise<Html> {
  const sets = await readMaskSets(experiments);
  const names = experiments.map(({ name }) => name);
  return markup`${sets.map((set) => maskSection(set, names.indexOf(set.experiment)))}`;
}

/** A part with what stands in it. */
interface FilledPart extends ReportPart {
  readonly content: Html;
}

/** What a page shows, and the links to it. */
interface Sections {
  readonly links: readonly (readonly [id: string, text: string])[];
  readonly content: readonly Html[];
}

function layOut(
  experiments: readonly Experiment[],
  parts: { figureOf: (key: string) => Html; masks: Html; more: readonly FilledPart[] },
): string {
  const { more } = parts;
  const own: Sections = experiments.length === 0
    ? { links: [], content: [] }
    : experimentSections(experiments, parts);
  const links = [...own.links, ...more.map(({ id, link }) => [id, link] as const)];
  const nav = links.map(([id, text]) => markup`<a href="#${id}">${text}</a>`);
  return page({
    title: experiments.length > 0
      ? titleOf(experiments)
      : more.map(({ title }) => title).join(", "),
    lead: leadOf(experiments, more.flatMap(({ sessions = [] }) => sessions)),
    source: sourceOf(experiments, more.flatMap(({ tasks = [] }) => tasks)),
    nav,
  }, [...own.content, ...more.map(({ id, title, content }) => section(id, title, content))]);
}

function section(id: string, title: string, body: Html): Html {
  return markup`<section id="${id}"><h2>${title}</h2>${body}</section>`;
}

function experimentSections(
  experiments: readonly Experiment[],
  parts: { figureOf: (key: string) => Html; masks: Html },
): Sections {
  const { figureOf, masks } = parts;
  const times = timeRows(experiments);
  const names = experiments.map(({ name }) => name);
  const misses = missesOf(experiments);
  const deltas = deltaTables(experiments);
  const hasTiles = figureOf("heads") !== NOTHING || masks.html !== "";
  const links: readonly (readonly [string, string, boolean])[] = [
    ["scores", "Scores", true],
    ["deltas", "Differences", deltas !== NOTHING],
    ["depth", "Needles", figureOf("depth") !== NOTHING],
    ["tiles", "Tiles", hasTiles],
    ["time", "Time", times.length > 0],
    ["misses", "Misses", true],
    ["run", "What was run", true],
  ];
  const content: readonly Html[] = [
    cards(experiments, times),
    section(
      "scores",
      "Scores",
      markup`${figureOf("mean")}${scoreTable(experiments)}${figureOf("tasks")}${
        figureOf("density")
      }`,
    ),
    deltas,
    figureOf("depth") === NOTHING
      ? NOTHING
      : section("depth", "Needles by depth", figureOf("depth")),
    hasTiles
      ? section("tiles", "Which tiles were computed", markup`${figureOf("heads")}${masks}`)
      : NOTHING,
    times.length === 0 ? NOTHING : section(
      "time",
      "Where the time went",
      markup`${figureOf("time")}${timeTable(times, names)}`,
    ),
    section("misses", "What went wrong", missSection(misses)),
    section("run", "What was run", runSection(experiments)),
  ];
  const shown = links.filter(([, , isThere]) => isThere);
  return { links: shown.map(([id, text]) => [id, text] as const), content };
}

function page(
  head: { title: string; lead: string; source: string; nav: readonly Html[] },
  content: readonly Html[],
): string {
  const { title, lead, source, nav } = head;
  return markup`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width,initial-scale=1">
        <meta name="generator" content="StarX ${VERSION}">
        <title>${title}</title>
        <link rel="icon" href="data:,">
        <style>${raw(STYLE)}</style>
      </head>
      <body>
        <div class="page">
          <header>
            <h1>${title}</h1>
            <p class="lead">${lead}</p>
          </header>
          <div class="bar"><nav aria-label="Sections">${nav}</nav>
    <button id="theme" class="needs-script" type="button">Theme</button></div>
          <main>${content}</main>
          <footer>Scores are ${source}, 0 to 100. Tiles are 128 x 128. Made by StarX ${VERSION}.</footer>
        </div>
        <div id="tip" hidden></div>
        <script>${raw(SCRIPT)}</script>
      </body>
    </html>
  `.html;
}
