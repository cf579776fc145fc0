/**
 * The parts of a report's page.
 *
 * @module
 */
import { formatMean, type MeanScore } from "../../ruler/scores.ts";
import type { Experiment, SampleResult } from "../results/experiment.ts";
import { type Html, markup, NOTHING, raw, scriptJson, table } from "./markup.ts";
import { maskData, maskGround, maskPath, type MaskSet, maskShare } from "./masks.ts";
import {
  type DeltaRow,
  deltaRows,
  densityOf,
  MEAN,
  meanOfTasks,
  type Misses,
  type TimeRow,
} from "./model.ts";
import { seriesVariable } from "./palette.ts";

const count = (value: number): string => Math.round(value).toLocaleString("en");
const fixed = (value: number, digits: number): string => value.toFixed(digits);
/** With a space that does not break. */
const percent = (share: number): string => `${(100 * share).toFixed(0)}\u00a0%`;

function dot(index: number): Html {
  return markup`<span class="dot" style="--own:${seriesVariable(index)}"></span>`;
}

/** The experiments at a glance. */
export function cards(experiments: readonly Experiment[], times: readonly TimeRow[]): Html {
  const items = experiments.map((experiment, index) => {
    const longest = experiment.lengths.at(-1);
    const mean = longest && meanOfTasks(longest);
    const density = longest && densityOf(longest);
    const time = times.findLast((row) => row.experiment === experiment.name);
    const facts: readonly (readonly [string, string])[] = [
      ["samples", count(mean?.count ?? 0)],
      ["tiles computed", density === undefined ? "" : percent(density)],
      [
        "seconds a sample",
        time === undefined ? "" : fixed(time.phase1 + time.phase2 + time.rest, 2),
      ],
      ["tokens/s, context", time === undefined ? "" : count(time.contextTokensPerS)],
    ];
    const shown = facts.filter(([, value]) => value !== "");
    return markup`
      <li
        style="--own:${seriesVariable(index)}"><span class="name">${experiment.name}<br>at ${
      count(
        longest?.maxTokens ?? 0,
      )
    } tokens</span><b>${mean === undefined ? "n/a" : fixed(mean.mean, 1)} <small>${
      mean?.stderr === undefined ? "" : `± ${fixed(mean.stderr, 1)}`
    }</small></b><dl>${
      shown.map(([name, value]) =>
        markup`
              <dt>${name}</dt>
              <dd>${value}</dd>
            `
      )
    }</dl></li>
    `;
  });
  return markup`<ul class="cards">${items}</ul>`;
}

/** All scores in numbers. */
export function scoreTable(experiments: readonly Experiment[]): Html {
  const columns = experiments.flatMap(({ lengths }) => lengths.map((length) => ({ length })));
  const tasks = [
    ...new Set(columns.flatMap(({ length }) => length.tasks.map(({ task }) => task))),
  ];
  const head = markup`
    <tr><th scope="col" rowspan="2">task</th>${
    experiments.map(({ name, lengths }, index) =>
      markup`<th scope="colgroup" colspan="${lengths.length}">${dot(index)}${name}</th>`
    )
  }</tr>
    <tr>${columns.map(({ length }) => markup`<th scope="col">${count(length.maxTokens)}</th>`)}</tr>
  `;
  const cell = (mean: MeanScore | undefined, isThere: boolean): Html => {
    if (mean === undefined) return markup`<td>${isThere ? "n/a" : ""}</td>`;
    const [value = "", error] = formatMean(mean).split(" ± ");
    return markup`<td>${value}${
      error === undefined ? NOTHING : markup`
        <span class="pm">± ${error}</span>
      `
    }</td>`;
  };
  const rows = tasks.map((task) =>
    markup`<tr><th scope="row">${task}</th>${
      columns.map(({ length }) => {
        const found = length.tasks.find((result) => result.task === task);
        return cell(found?.mean, found !== undefined);
      })
    }</tr>`
  );
  const last = markup`<tr class="mean"><th scope="row">mean</th>${
    columns.map(({ length }) => cell(meanOfTasks(length), true))
  }</tr>`;
  return table("Scores of all tasks", { head, body: [...rows, last] });
}

/** Each further experiment against the first one. */
export function deltaTables(experiments: readonly Experiment[]): Html {
  const [base, ...others] = experiments;
  if (base === undefined) return NOTHING;
  const parts = others.flatMap((other, index) => {
    const rows = deltaRows(base, other);
    if (rows.length === 0) return [];
    return [markup`<h3>${dot(index + 1)}${other.name} less ${base.name}</h3>${deltaTable(rows)}`];
  });
  if (parts.length === 0) return NOTHING;
  return markup`<section id="deltas"><h2>Differences</h2>
<p class="note">On the samples that both runs have: the mean of the differences, and its standard error
over these pairs. What lies beyond two errors is coloured.</p>${parts}</section>`;
}

function deltaTable(rows: readonly DeltaRow[]): Html {
  const lengths = [...new Set(rows.map(({ length }) => length))];
  const tasks = [...new Set(rows.map(({ task }) => task))]
    .sort((a, b) => Number(a === MEAN) - Number(b === MEAN));
  const head = markup`<tr><th scope="col">task</th>${
    lengths.map((length) => markup`<th scope="col">${count(length)}</th>`)
  }</tr>`;
  const body = tasks.map((task) =>
    raw(
      `<tr${task === MEAN ? ' class="mean"' : ""}>${
        markup`<th scope="row">${task}</th>${
          lengths.map((length) =>
            deltaCell(rows.find((row) => row.task === task && row.length === length))
          )
        }`.html
      }</tr>`,
    )
  );
  return table("Differences", { head, body });
}

function deltaCell(row: DeltaRow | undefined): Html {
  if (row === undefined) return markup`<td></td>`;
  const { delta, stderr } = row;
  const isClear = stderr !== undefined && Math.abs(delta) > 2 * stderr && delta !== 0;
  const name = !isClear ? "" : delta > 0 ? "up" : "down";
  const sign = delta > 0 ? "+" : delta < 0 ? "−" : "";
  return markup`<td><span class="${name}">${sign}${fixed(Math.abs(delta), 1)}</span>${
    stderr === undefined ? NOTHING : markup`
      <span class="pm">± ${fixed(stderr, 1)}</span>
    `
  }</td>`;
}

/** Rates and memory. */
export function timeTable(rows: readonly TimeRow[], names: readonly string[]): Html {
  const head = markup`
    <tr>
      <th scope="col">run</th>
      <th scope="col">length</th>
      <th scope="col">tokens/s<br>context</th>
      <th scope="col">tokens/s<br>answer</th>
      <th scope="col">phase 1<br>s</th>
      <th scope="col">phase 2<br>s</th>
      <th scope="col">peak memory<br>of a process</th>
    </tr>
  `;
  const rate = (value: number, digits: number) =>
    Number.isFinite(value) ? value.toFixed(digits) : "";
  const body = rows.map((row) =>
    markup`
      <tr>
        <th scope="row">${dot(names.indexOf(row.experiment))}${row.experiment}</th>
        <td>${count(row.length)}</td>
        <td>${Number.isFinite(row.contextTokensPerS) ? count(row.contextTokensPerS) : ""}</td>
        <td>${rate(row.generatedTokensPerS, 1)}</td>
        <td>${fixed(row.phase1, 2)}</td>
        <td>${fixed(row.phase2, 2)}</td>
        <td>${row.residentMib === undefined ? "" : `${count(row.residentMib)} MiB`}</td>
      </tr>
    `
  );
  return table("Rates and memory", { head, body });
}

/** The masks of a sample, with a layer and a head to choose where scripts run. */
export function maskSection(set: MaskSet, index: number): Html {
  const ground = maskGround(set);
  const [first = []] = set.masks;
  const drawing = (mask: Uint8Array | undefined, name: string): Html =>
    markup`
      <svg viewBox="-0.4 -0.4 ${set.tiles + 0.8} ${
      set.tiles +
      0.8
    }" role="img" aria-label="${name}">
        <path class="causal" d="${ground.causal}" />
        <path class="tiles" d="${maskPath(mask ?? new Uint8Array(), set.tiles)}" />
        <path class="blocks" d="${ground.blocks}" />
        <path class="anchor" d="${ground.anchor}" />
      </svg>
    `;
  const shareOf = (mask: Uint8Array | undefined) =>
    mask === undefined ? "" : percent(maskShare(mask, set.tiles));
  const heads = first.map((mask, head) =>
    markup`<li><button type="button" aria-pressed="${head === 0 ? "true" : "false"}">${
      drawing(mask, `head ${head}`)
    }<span>head ${head}: ${shareOf(mask)}</span></button></li>`
  );
  const options = set.masks.map((_, layer) =>
    markup`<option value="${layer}">layer ${layer}</option>`
  );
  const { experiment, length, task, sample, anchorTiles } = set;
  const anchorKey = anchorTiles === 0
    ? NOTHING
    : markup`<span><i style="border:1.5px dashed var(--anchor)"></i>keys of the anchor</span>
<span><i style="border:1.5px solid var(--block)"></i>a block</span>`;
  return markup`
    <div class="mask-set">
      <h3>${dot(index)}${experiment}, ${task} at ${count(length)} tokens, sample ${sample + 1}</h3>
      <div class="controls needs-script"><label>Layer <select>${options}</select></label></div>
      <div class="masks">
        <div class="large">${drawing(first[0], `selected tiles of ${experiment}`)}
    <p class="note large-name" aria-live="polite">Layer 0, head 0: ${
    shareOf(
      first[0],
    )
  } of the causal tiles</p></div>
        <ul class="heads">${heads}</ul>
      </div>
      <div class="key"><span><i style="background:var(--tile)"></i>computed</span>
    <span><i style="background:var(--causal)"></i>left out</span>${anchorKey}</div>
      <script type="application/json">${raw(scriptJson(maskData(set)))}</script>
    </div>
  `;
}

/** Samples that missed, folded. */
export function missSection(all: readonly Misses[]): Html {
  if (all.length === 0) return markup`<p>Every sample scored in full.</p>`;
  return markup`${
    all.map(({ experiment, length, task, count: missed, of, samples }) =>
      markup`
        <details>
          <summary>${task} at ${
        count(
          length,
        )
      }, ${experiment}: <b>${missed} of ${of}</b> did not score in full${
        missed >
            samples.length
          ? ` (the worst ${samples.length} are here)`
          : ""
      }</summary>
          <div>${samples.map(missItem)}</div>
        </details>
      `
    )
  }`;
}

function missItem(sample: SampleResult): Html {
  const { index, score = 0, answers, prediction, query, contextTail } = sample;
  const found = prediction.toLowerCase();
  const expected = answers.map((answer, place) =>
    markup`${place === 0 ? "" : ", "}${
      found.includes(answer.toLowerCase()) ? markup`<mark>${answer}</mark>` : markup`${answer}`
    }`
  );
  return markup`
    <details class="sample">
      <summary>sample ${index}: ${fixed(score, 0)}</summary>
      <div>
        <dl>
          <dt>expected</dt>
          <dd>${expected}</dd>
          <dt>answer</dt>
          <dd>
            <pre>${prediction === "" ? "(nothing)" : prediction}</pre>
          </dd>
          <dt>query</dt>
          <dd>
            <pre>${query.trim()}</pre>
          </dd>
          <dt>context's end</dt>
          <dd>
            <pre>…${contextTail.trim()}</pre>
          </dd>
        </dl>
      </div>
    </details>
  `;
}

/** What was run, as `run.json` says. */
export function runSection(experiments: readonly Experiment[]): Html {
  return markup`${
    experiments.flatMap((experiment) =>
      experiment.lengths.map(({ maxTokens, record }) => {
        const session = record?.sessions?.at(-1);
        return markup`
          <details>
            <summary>${experiment.name} at ${
          count(
            maxTokens,
          )
        } <span class="mono">${
          session?.date.slice(0, 16).replace("T", " ") ??
            ""
        } ${session?.device ?? ""}</span></summary>
            <pre>${record === undefined ? "no run.json" : JSON.stringify(record, null, 2)}</pre>
          </details>
        `;
      })
    )
  }`;
}
