/**
 * Thresholds per layer and head, from a prompt to the tiles: on one process and two, alone and in a
 * batch.
 *
 * @module
 */
import { maskBits } from "../../lib/attention/tile_masks.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { ThresholdTable } from "../../lib/attention/thresholds.ts";
import { type Generation, loadModel } from "../../lib/engine/load_model.ts";
import { openPhases } from "../../lib/engine/phases.ts";
import { UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { modelDigest } from "../../lib/model/digest.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const HERE = { device: "cpu", threads: 1, precision: "f32" } as const;
const CONTEXT = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(100);
const PROMPT = { context: CONTEXT, query: "The sky is" };
const BLOCKS = { blockTokens: 1024, anchorTokens: 512 } as const;
const PLANS: readonly PlanOptions[] = [
  { mode: "xattn" },
  { mode: "starx", ...BLOCKS },
  { mode: "ringx" },
];
const CONFIG = await readConfig(MODEL);

/** A table of the model's size. */
function tableOf(threshold: (layer: number, head: number) => number): ThresholdTable {
  const layers = Array.from(
    { length: CONFIG.layerCount },
    (_, layer) => Array.from({ length: CONFIG.queryHeads }, (_, head) => threshold(layer, head)),
  );
  return { stride: 16, layers, model: null };
}

/** Different ones in neighbouring heads and layers, none and all included. */
const MIXED = tableOf((layer, head) => [0, 0.5, 0.8, 1, 0.95][(3 * layer + head) % 5] ?? 0);

async function run(
  plan: PlanOptions,
  options: { processCount?: number; count?: number } = {},
): Promise<Generation[]> {
  const { processCount = 1, count = 1 } = options;
  await using model = await loadModel(MODEL, { ...HERE, ...plan, processCount, batchSize: count });
  const isRing = plan.mode === "ringx";
  const call = { tokensToGenerate: 4, topLogits: 8, withMasks: !isRing };
  return await Promise.all(Array.from({ length: count }, () => model.generate(PROMPT, call)));
}

const factsOf = ({ ids, topLogits, result }: Generation) => ({
  ids,
  topLogits,
  selected: result.selectedTiles,
  masks: result.masks,
});

/** The columns that each row of tiles of the first layer's head takes, of one process. */
function tilesOf(run: Generation, head: number): number[][] {
  const rows: number[][] = [];
  for (const mask of run.result.masks.filter(({ layer }) => layer === 0)) {
    const bits = maskBits(mask).subarray(head * mask.rows * mask.width);
    for (let row = 0; row < mask.rows; row++) {
      const taken = bits.subarray(row * mask.width, (row + 1) * mask.width);
      rows[mask.firstRow + row] = [...taken.keys()].filter((column) => taken[column] === 1);
    }
  }
  return rows;
}

Deno.test("a table of one threshold everywhere gives bit for bit what the number gives", async () => {
  for (const plan of PLANS) {
    for (const threshold of [0.8, 1]) {
      const [number] = await run({ ...plan, threshold });
      const [table] = await run({ ...plan, threshold: tableOf(() => threshold) });
      assert(number !== undefined && table !== undefined);
      assertEquals(factsOf(table), factsOf(number), `${plan.mode} ${threshold}`);
    }
  }
});

Deno.test("a threshold of a head changes the tiles of that head alone", async () => {
  const [before] = await run({ mode: "xattn", threshold: tableOf(() => 0.8) });
  const other = tableOf((layer, head) => layer === 0 && head === 1 ? 0 : 0.8);
  const [after] = await run({ mode: "xattn", threshold: other });
  assert(before !== undefined && after !== undefined);
  // What the layers behind the first one select depends on what that one computed.
  for (let head = 0; head < CONFIG.queryHeads; head++) {
    const [rows, earlier] = [tilesOf(after, head), tilesOf(before, head)];
    assertEquals(rows.length, Math.ceil(after.contextTokens / 128));
    if (head !== 1) assertEquals(rows, earlier, `head ${head}`);
    else assertEquals(rows, rows.map((_, row) => row === 0 ? [0] : [0, row]));
  }
  const all = tilesOf(before, 1).flat().length;
  assert(all > tilesOf(after, 1).flat().length, "a threshold of 0.8 takes more");
});

Deno.test("different thresholds give the same on every number of processes and in batches", async () => {
  for (const plan of PLANS) {
    const mixed = { ...plan, threshold: MIXED };
    const [alone] = await run(mixed);
    assert(alone !== undefined);
    const facts = (one: Generation) => ({
      text: one.text,
      ids: one.ids,
      top: one.topLogits.map(([id, logit]) => [id, logit.toFixed(3)]),
      selected: one.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
    });
    const processCount = plan.mode === "xattn" ? 1 : 2;
    for (const one of await run(mixed, { processCount, count: 2 })) {
      assertEquals(facts(one), facts(alone), plan.mode);
    }
    const [uniform] = await run({ ...plan, threshold: 0.8 });
    assert(uniform !== undefined);
    assert(facts(uniform).selected !== facts(alone).selected);
  }
});

/** Looks at the rows of one layer's heads. */
const LOOKS = `
  export const rows = [];
  export const onSelection = ({ mass, tiles, columns, diagonal, rows: count }) => {
    for (let row = 0; row < count; row++) {
      const [begin, own] = [row * columns, diagonal + row];
      rows.push({
        own,
        mass: [...mass.subarray(begin, begin + own + 1)],
        tiles: [...tiles.subarray(begin, begin + own + 1)],
      });
    }
  };\n`;

Deno.test("a share selects the tiles that hold it, and the row's own one", async () => {
  await inFolder({ "looks.js": LOOKS }, async (folder) => {
    const selectModule = `${folder}/looks.js`;
    const threshold = { share: 0.05 };
    const load = { ...HERE, mode: "xattn", threshold, selectModule } as const;
    await using model = await loadModel(MODEL, load);
    await model.generate(PROMPT, { tokensToGenerate: 1 });
    const { rows } = await import(new URL(`file://${selectModule}`).href);
    assert(rows.length > 0);
    const kinds = new Set<string>();
    for (const { own, mass, tiles } of rows) {
      const total = mass.reduce((sum: number, part: number) => sum + part, 0);
      const wanted = mass.map((part: number, column: number) =>
        column === own || part >= Math.fround(threshold.share) * total ? 1 : 0
      );
      assertEquals(tiles, wanted);
      kinds.add(`${tiles[0]} ${tiles.includes(0)}`);
    }
    assert(kinds.has("0 true") && kinds.has("1 true"), "the first tile is one like all others");
  });
});

Deno.test("a table of one share everywhere gives bit for bit what the share gives", async () => {
  for (const plan of PLANS) {
    const [one] = await run({ ...plan, threshold: { share: 0.05 } });
    const table = { ...tableOf(() => 0.05), rule: "share" as const };
    const [same] = await run({ ...plan, threshold: table });
    assert(one !== undefined && same !== undefined);
    assertEquals(factsOf(same), factsOf(one), plan.mode);
  }
});

Deno.test("a share of a head changes the tiles of that head alone, and 0 takes all", async () => {
  const shares = (share: (layer: number, head: number) => number) => ({
    ...tableOf(share),
    rule: "share" as const,
  });
  const [before] = await run({ mode: "xattn", threshold: shares(() => 0.05) });
  const other = shares((layer, head) => layer === 0 && head < 2 ? head : 0.05);
  const [after] = await run({ mode: "xattn", threshold: other });
  assert(before !== undefined && after !== undefined);
  for (let head = 0; head < CONFIG.queryHeads; head++) {
    const [rows, earlier] = [tilesOf(after, head), tilesOf(before, head)];
    if (head > 1) assertEquals(rows, earlier, `head ${head}`);
    else if (head === 1) assertEquals(rows, rows.map((_, row) => [row]));
    else assertEquals(rows, rows.map((_, row) => Array.from({ length: row + 1 }, (_, i) => i)));
  }
});

Deno.test("different shares give the same on every number of processes and in batches", async () => {
  const threshold = {
    ...tableOf((layer, head) => [0, 0.02, 0.05, 1, 0.13][(3 * layer + head) % 5] ?? 0),
    rule: "share" as const,
  };
  for (const plan of PLANS) {
    const [alone] = await run({ ...plan, threshold });
    assert(alone !== undefined);
    const facts = (one: Generation) => ({
      ids: one.ids,
      selected: one.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
    });
    const processCount = plan.mode === "xattn" ? 1 : 2;
    for (const one of await run({ ...plan, threshold }, { processCount, count: 2 })) {
      assertEquals(facts(one), facts(alone), plan.mode);
    }
  }
});

Deno.test("a share gives the same on every number of processes and in batches", async () => {
  for (const plan of PLANS) {
    const shared = { ...plan, threshold: { share: 0.03 } };
    const [alone] = await run(shared);
    assert(alone !== undefined);
    const facts = (one: Generation) => ({
      ids: one.ids,
      selected: one.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
    });
    const processCount = plan.mode === "xattn" ? 1 : 2;
    for (const one of await run(shared, { processCount, count: 2 })) {
      assertEquals(facts(one), facts(alone), plan.mode);
    }
  }
});

Deno.test("openPhases() takes a table for a model, and another one for a context", async () => {
  await using phases = await openPhases(MODEL, { ...HERE, mode: "xattn", threshold: MIXED });
  const ids = Int32Array.from({ length: 1200 }, (_, i) => i % 200);
  const selected = async (threshold: number | ThresholdTable) => {
    using encoded = await phases.encode(ids, { room: 0, plan: { mode: "xattn", threshold } });
    return encoded.selected;
  };
  using own = await phases.encode(ids, { room: 0 });
  assertEquals(await selected(MIXED), own.selected);
  assertEquals(await selected(tableOf(() => 0.7)), await selected(0.7));
  const short = { ...MIXED, layers: MIXED.layers.slice(1) };
  await assertRejects(() => selected(short), UsageError, "must be of as many layers as the model");
});

Deno.test("loadModel() refuses a table for another model", async () => {
  const digest = await modelDigest(MODEL);
  const { layerCount: layers, queryHeads: heads } = CONFIG;
  const cases: readonly (readonly [Partial<ThresholdTable>, string])[] = [
    [
      { layers: MIXED.layers.slice(1) },
      `'threshold.layers' must be of as many layers as the model has, ${layers}: ` +
      `current value is ${layers - 1}`,
    ],
    [
      { layers: MIXED.layers.map((row) => row.slice(1)) },
      `'threshold.layers[0]' must be of as many query heads as the model has, ${heads}: ` +
      `current value is ${heads - 1}`,
    ],
    [
      { model: "0".repeat(64) },
      `'threshold.model' must be of the model in ${MODEL}, whose SHA-256 is ${
        digest.slice(0, 12)
      }...: ` +
      "current value is 000000000000...",
    ],
  ];
  for (const [change, message] of cases) {
    const threshold = { ...MIXED, ...change };
    const load = () => loadModel(MODEL, { ...HERE, mode: "xattn", threshold });
    await assertRejects(load, UsageError, message);
    Object.assign(threshold, { file: "t.json" });
    const [, key = "", rest = ""] = /^'threshold\.([^']+)'(.*): current/.exec(message) ?? [];
    await assertRejects(
      load,
      UsageError,
      `Cannot use t.json as "${key}"${rest}: current value is `,
    );
  }
  const own = { ...MIXED, model: digest };
  await using _model = await loadModel(MODEL, { ...HERE, mode: "xattn", threshold: own });
});
