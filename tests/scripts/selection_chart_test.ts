/**
 * The rows of the picture in `docs/selection.md`: those of the committed sweep, and what is refused.
 *
 * @module
 */
import { pictureOf, readRows } from "../../scripts/selection_chart.ts";
import { sweepPoints } from "../../commands/report/sweep_charts.ts";
import { FileError } from "../../lib/errors.ts";
import { assert, assertEquals, assertThrows } from "../helpers/assert.ts";

const PATH = new URL("../../bench/h200-selection.csv", import.meta.url);

Deno.test("readRows() has the selections of the committed sweep, and no choice of keys", async () => {
  const rows = readRows(await Deno.readTextFile(PATH), "h200-selection.csv");
  const points = sweepPoints(rows, { value: "delta", cost: "density" });
  assert(points.length > 40, `${points.length} points`);
  assertEquals(rows.filter(({ name }) => /_k|_mean/.test(name)), []);
  const one = rows.find(({ name, length }) => name === "xattn_s16_share0.05" && length === 4096);
  assertEquals([one?.method, one?.exact, one?.sampleCount], [
    "xattn, s16, by share",
    "dense",
    1000,
  ]);
  assert(one !== undefined && one.density < 0.21 && (one.delta?.mean ?? 0) < 0);
  // What all tiles give has nothing to be compared with.
  assertEquals(rows.find(({ name }) => name === "dense")?.delta, undefined);
});

Deno.test("readRows() tells what was asked from what was measured, and names a bad line", () => {
  const names = "setting,attn_type,density,rest,decode_keep,length,samples,score,stderr,density";
  const text =
    `${names},exact,delta,delta_stderr\nx_d0.2,xattn,0.2,drop,1,8,10,90,1,0.19,dense,-1,0.5`;
  const [row] = readRows(text, "a.csv");
  assertEquals([row?.setting.density, row?.density], [0.2, 0.19]);
  assertEquals(readRows(text.replace("density", "asked_density"), "a.csv"), [row]);
  assertEquals(row?.method, "xattn, shares by kept attention");
  assertEquals(row?.delta, { mean: -1, stderr: 0.5, count: 10 });
  const refused = [
    [`${text},1`, "line 2 must have 13 columns: current value is 14"],
    [text.replace(",xattn,", ",other,"), 'line 2 must have a mode as "attn_type"'],
  ] as const;
  for (const [wrong, message] of refused) {
    assertThrows(() => readRows(wrong, "a.csv"), FileError, `Cannot read a.csv: ${message}`);
  }
});

Deno.test("pictureOf() defines every variable that the chart's colours are", async () => {
  const svg = pictureOf('<svg width="9"><path stroke="#0a0008" fill="#0b0003"/></svg>');
  assert(svg.includes('stroke="var(--s8)" fill="var(--grid)"'), svg);
  const committed = await Deno.readTextFile(new URL("../../docs/selection.svg", import.meta.url));
  for (const text of [svg, committed]) {
    const used = new Set([...text.matchAll(/var\((--\w+)\)/g)].map(([, name]) => name));
    assert(used.size > 1);
    for (const name of used) assert(text.includes(`${name}:#`), `${name} is not defined`);
  }
});
