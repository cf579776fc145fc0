/**
 * A selection by a module of one's own: the example of docs/extend.md in every mode that selects, on
 * one process and two, alone and in batches; what a module may do wrong.
 *
 * @module
 */
import { maskBits } from "../../lib/attention/tile_masks.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { loadModel } from "../../lib/engine/load_model.ts";
import { openPhases } from "../../lib/engine/phases.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { runScript } from "../helpers/script.ts";
import { ROOT } from "../helpers/sources.ts";

const HERE = { device: "cpu", threads: 1, precision: "f32" } as const;
/** As many tokens as the reference's prompts have several times over. */
const CONTEXT = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n".repeat(150);
const PROMPT = { context: CONTEXT, query: "The sky is" };
const BLOCKS = { blockTokens: 1024, anchorTokens: 512 } as const;
/** The example's window and sinks. */
const [SINKS, WINDOW] = [1, 8];

/** The code of docs/extend.md that has a text in it. */
async function example(mark: string): Promise<string> {
  const document = await Deno.readTextFile(new URL("docs/extend.md", ROOT));
  const found = [...document.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ""]) => code)
    .filter((code) => code.includes(mark));
  assertEquals(found.length, 1, `docs/extend.md has one example with ${mark}`);
  return found[0] ?? "";
}

/** Runs one prompt several times at once. */
async function run(
  plan: PlanOptions,
  options: { processCount?: number; count?: number; selectModule?: string },
) {
  const { processCount = 1, count = 1, selectModule } = options;
  const sizes = { processCount, batchSize: count, selectModule };
  await using model = await loadModel(MODEL, { ...HERE, ...plan, ...sizes });
  const call = { tokensToGenerate: 4, topLogits: 8, withMasks: true };
  return await Promise.all(Array.from({ length: count }, () => model.generate(PROMPT, call)));
}

Deno.test("select() of docs/extend.md selects sinks and a window in xattn", async () => {
  await inFolder({ "sinks.ts": await example("WINDOW") }, async (folder) => {
    const [found] = await run({ mode: "xattn" }, { selectModule: `${folder}/sinks.ts` });
    assert(found !== undefined);
    const tiles = Math.ceil(found.contextTokens / 128);
    assert(tiles > SINKS + WINDOW, "some tiles are left out");
    const rows = Array.from({ length: tiles }, (_, row) => Math.min(row + 1, SINKS + WINDOW));
    const perHead = rows.reduce((sum, count) => sum + count, 0);
    for (const [selected, causal] of found.result.selectedTiles) {
      const heads = causal / (tiles * (tiles + 1) / 2);
      assertEquals(selected, heads * perHead);
    }
    for (const mask of found.result.masks) {
      const bits = maskBits(mask);
      for (let row = 0; row < mask.heads * mask.rows; row++) {
        const own = mask.firstRow + row % mask.rows;
        const expected = Array.from(
          { length: mask.width },
          (_, column) => column <= own && (column < SINKS || own - column < WINDOW) ? 1 : 0,
        );
        assertEquals([...bits.subarray(row * mask.width, (row + 1) * mask.width)], expected);
      }
    }
  });
});

Deno.test("select() of docs/extend.md reads queries and keys", async () => {
  await inFolder({ "last.ts": await example("last_query.ts") }, async (folder) => {
    const [found] = await run({ mode: "xattn" }, { selectModule: `${folder}/last.ts` });
    const [own] = await run({ mode: "xattn", threshold: 1 }, {});
    assert(found !== undefined && own !== undefined);
    const computed = found.result.selectedTiles.map(([selected, causal]) => selected / causal);
    assert(computed.every((share) => share < 1 && share > 0.1), String(computed));
    assertEquals(found.text, own.text);
  });
});

Deno.test("a selection gives the same in batches and on every number of processes", async () => {
  await inFolder({ "sinks.ts": await example("WINDOW") }, async (folder) => {
    const selectModule = `${folder}/sinks.ts`;
    const plans: readonly PlanOptions[] = [{ mode: "starx", ...BLOCKS }, { mode: "ringx" }];
    for (const plan of plans) {
      const [alone] = await run(plan, { selectModule });
      const two = await run(plan, { selectModule, processCount: 2, count: 2 });
      const facts = (one: typeof alone) => ({
        text: one?.text,
        ids: one?.ids,
        top: one?.topLogits.map(([id, logit]) => [id, logit.toFixed(3)]),
        computed: one?.result.selectedTiles.reduce((sum, [tiles]) => sum + tiles, 0),
      });
      for (const one of two) assertEquals(facts(one), facts(alone), plan.mode);
      const [own] = await run(plan, {});
      assert(facts(own).computed !== facts(alone).computed, "the mass selects otherwise");
    }
  });
});

Deno.test("a selection of what the mass selects changes no bit", async () => {
  const code = "export const select = (_mass, { tiles }) => tiles;\n";
  await inFolder({ "same.js": code }, async (folder) => {
    for (const plan of [{ mode: "xattn" }, { mode: "starx", ...BLOCKS }] as const) {
      const [own] = await run(plan, {});
      const [same] = await run(plan, { selectModule: `${folder}/same.js` });
      assertEquals(same?.topLogits, own?.topLogits);
      assertEquals(same?.result.masks, own?.result.masks);
    }
  });
});

Deno.test("onSelection() of docs/extend.md sees what is computed, whoever selects it", async () => {
  await inFolder({ "look.ts": await example("onSelection({ layer") }, async (folder) => {
    const selectModule = `${folder}/look.ts`;
    const [found] = await run({ mode: "xattn", threshold: 0.8 }, { selectModule });
    const { computed } = await import(new URL(`file://${selectModule}`).href);
    assertEquals(computed, found?.result.selectedTiles.map(([selected]) => selected));
  });
});

Deno.test("onSelection() gets masses that are shares of a row, and select() before it", async () => {
  const code = `
    export const events = [];
    export const select = (mass, { rows, columns }) => new Uint8Array(rows * columns);
    export const onSelection = (event) => { events.push(event); };\n`;
  await inFolder({ "look.js": code }, async (folder) => {
    const plan = { mode: "starx", ...BLOCKS } as const;
    await run(plan, { selectModule: `${folder}/look.js` });
    const { events } = await import(new URL(`file://${folder}/look.js`).href);
    assert(events.length > 0);
    for (const { rows, columns, diagonal, anchorColumns, block, tiles, mass } of events) {
      assertEquals(anchorColumns, block === 0 ? 0 : BLOCKS.anchorTokens / 128);
      for (let row = 0; row < rows; row++) {
        const own = diagonal + row;
        // Nothing was asked for: a row's own tile is computed nonetheless.
        const expected = Array.from({ length: columns }, (_, column) => column === own ? 1 : 0);
        assertEquals([...tiles.subarray(row * columns, (row + 1) * columns)], expected);
        const shares = [...mass.subarray(row * columns, (row + 1) * columns)];
        assert(shares.every((share, column) => share >= 0 && (column <= own || share === 0)));
        assert(shares.some((share) => share > 0));
      }
    }
  });
});

/** Asks the reader for all that it has of some heads, as long as it can be asked. */
const READS = `
  export const calls = [];
  export const select = async (mass, { reader, head, layer, block, tiles, ...place }) => {
    if (layer === 2 && head % 3 === 1) {
      const { group, headDim, scale } = reader;
      const [queries, keys] = [await reader.queries(head), await reader.keys(head)];
      const masses = { mass, same: await reader.mass(head), exact: await reader.exactMass(head) };
      calls.push({ ...place, ...masses, head, block, queries, keys, group, headDim, scale });
    }
    return tiles;
  };\n`;

Deno.test("a selection reads queries, keys and masses that belong together", async () => {
  for (const plan of [{ mode: "xattn" }, { mode: "starx", ...BLOCKS }] as const) {
    await inFolder({ "reads.js": READS }, async (folder) => {
      const [own] = await run(plan, {});
      const [read] = await run(plan, { selectModule: `${folder}/reads.js` });
      assertEquals(read?.topLogits, own?.topLogits, "reading changes no bit");
      const { calls } = await import(new URL(`file://${folder}/reads.js`).href);
      assert(calls.length > 0);
      const kept = calls.find((call: { head: number }) => call.head === 4);
      for (const call of [calls[0], kept, calls.at(-1)]) {
        assertEquals(call.same, call.mass);
        assertClose(call.exact, plainMass(call));
      }
    });
  }
});

/** The exact mass of a call's tiles by plain loops. */
function plainMass(
  call:
    & {
      [name in "rows" | "columns" | "diagonal" | "headDim" | "scale"]: number;
    }
    & { queries: Float32Array; keys: Float32Array },
): Float64Array {
  const { columns, diagonal, headDim, scale, queries, keys } = call;
  const mass = new Float64Array(call.rows * columns);
  for (let query = 0; query < queries.length / headDim; query++) {
    const weights = Array.from({ length: diagonal * 128 + query + 1 }, (_, key) => {
      let sum = 0;
      for (let d = 0; d < headDim; d++) {
        sum += (queries[query * headDim + d] ?? 0) * (keys[key * headDim + d] ?? NaN);
      }
      return Math.exp(scale * sum);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, key) => {
      const cell = Math.floor(query / 128) * columns + Math.floor(key / 128);
      mass[cell] = (mass[cell] ?? 0) + weight / total;
    });
  }
  return mass;
}

function assertClose(found: Float32Array, expected: Float64Array): void {
  assertEquals(found.length, expected.length);
  found.forEach((value, i) => {
    const wanted = expected[i] ?? NaN;
    // Of up to 128 queries.
    assert(Math.abs(value - wanted) < 2e-3, `tile ${i}: ${value} against ${wanted}`);
  });
}

Deno.test("a module that cannot be used is refused by name, wherever it fails", async () => {
  const files = {
    "none.js": "export const other = 1;\n",
    "number.js": "export const select = 1;\n",
    "syntax.js": "export const = ;\n",
    "short.js": "export const select = () => new Uint8Array(1);\n",
    "throws.js": "export const select = () => { throw new Error('no idea'); };\n",
    "looks.js": "export const onSelection = () => { throw new Error('cannot look'); };\n",
  };
  await inFolder(files, async (folder) => {
    const cases: readonly (readonly [string, typeof UsageError | typeof FileError, string])[] = [
      ["missing.js", FileError, "missing.js: it does not exist"],
      ["none.js", UsageError, "none.js as it must export select() or onSelection()"],
      ["number.js", UsageError, "number.js as its export 'select' must be a function"],
      ["syntax.js", FileError, "syntax.js"],
      [
        "short.js",
        UsageError,
        "short.js must give a Uint8Array of 4 x 4 numbers in layer 0, head 0",
      ],
      ["throws.js", UsageError, "throws.js failed in layer 0, head 0: no idea"],
      ["looks.js", UsageError, "onSelection() of"],
    ];
    for (const processCount of [1, 2]) {
      for (const [name, error, message] of cases) {
        const plan = { mode: "starx", ...BLOCKS } as const;
        const options = { processCount, selectModule: `${folder}/${name}` };
        await assertRejects(() => run(plan, options), error, message);
      }
    }
    const select = `${folder}/throws.js`;
    await assertRejects(
      () => openPhases(MODEL, { ...HERE, selectModule: select }),
      UsageError,
      "'selectModule' must be absent in a mode that selects no tiles: current value is dense",
    );
    await assertRejects(
      () => openPhases(MODEL, { ...HERE, mode: "xattn", selectModule: "https://x.test/a.js" }),
      UsageError,
      "'selectModule' must be a file of a module: current value is https://x.test/a.js",
    );
    const known = { url: new URL(`file://${select}`).href, sha256: "0".repeat(64) };
    await assertRejects(
      () => loadModel(MODEL, { ...HERE, mode: "xattn", selectModule: known }),
      FileError,
      "as its SHA-256 must be that of the run",
    );
  });
});

Deno.test("--select is bound to the module's text, and to modes that select", async () => {
  const line = JSON.stringify({
    ...{ index: 0, input_context: "The sky is blue. ".repeat(60), input_query: "The sky" },
    outputs: ["blue"],
  });
  const files = { "in.jsonl": `${line}\n`, "sinks.ts": await example("WINDOW") };
  await inFolder(files, async (folder) => {
    const infer = (mode: string, ...flags: readonly string[]) =>
      runScript("cli.ts", [
        ...["infer", "-p", MODEL, "-a", mode, "--device", "cpu", "--tokens_to_generate", "2"],
        ...["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`],
        ...flags,
      ], { env: {}, permissions: ["--allow-ffi", "--allow-run", "--allow-sys"] });
    const select = ["--select", `${folder}/sinks.ts`];
    const dense = await infer("dense", ...select);
    assertEquals(dense.code, 2);
    assertStringIncludes(dense.stderr, "--select: takes a mode that selects tiles (xattn, starx");
    const first = await infer("xattn", ...select);
    assertEquals(first.code, 0, first.stderr);
    const again = await infer("xattn", ...select);
    assertEquals(again.code, 0, again.stderr);
    const without = await infer("xattn");
    assertEquals(without.code, 2);
    assertStringIncludes(without.stderr, "--select: cannot continue the results in");
    await Deno.writeTextFile(`${folder}/sinks.ts`, `${files["sinks.ts"]}\n`);
    const other = await infer("xattn", ...select);
    assertEquals(other.code, 2);
    assertStringIncludes(other.stderr, "--select: cannot continue the results in");
    const missing = await infer("xattn", "--select", `${folder}/none.ts`, "--overwrite");
    assertEquals(missing.code, 3);
    assertStringIncludes(missing.stderr, "none.ts: it does not exist");
  });
});
