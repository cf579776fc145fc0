/**
 * The scores and rules that are compared with XAttention's: on numbers that one can follow, and once
 * through the program.
 *
 * @module
 */
import { keptAt, nameOf, nearestStep, tilesOf, wayOf } from "../../scripts/scores/curves.ts";
import { METHODS, type Place } from "../../scripts/scores/methods.ts";
import { permutedMasses } from "../../scripts/scores/permuted.ts";
import { STEPS, stepsOfRow } from "../../scripts/scores/rules.ts";
import { selectAttentionBlocks, type SelectionInfo, type SelectionReader } from "../../mod.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { Random } from "../helpers/random.ts";
import { runScript } from "../helpers/script.ts";

const [TOKENS, HEADS, DIM] = [300, 2, 64];

/** Queries of two heads that share keys, by a seed. */
function numbers(): { queries: Float32Array<ArrayBuffer>; keys: Float32Array<ArrayBuffer> } {
  const random = new Random(3);
  const make = (count: number) => random.floats(count, 1);
  return { queries: make(TOKENS * HEADS * DIM), keys: make(TOKENS * DIM) };
}

/** The rows of all tokens, as a selection sees them. */
function placeOf({ queries, keys }: ReturnType<typeof numbers>): Place {
  const reader: SelectionReader = {
    ...{ heads: HEADS, group: HEADS, headDim: DIM, scale: 1 / Math.sqrt(DIM) },
    queries: (head) =>
      Promise.resolve(
        Float32Array.from(
          { length: TOKENS * DIM },
          (_, i) => queries[(Math.floor(i / DIM) * HEADS + head) * DIM + i % DIM] ?? NaN,
        ),
      ),
    keys: () => Promise.resolve(keys.slice()),
    mass: () => Promise.reject(new Error("it is not asked for")),
    exactMass: () => Promise.reject(new Error("it is not asked for")),
  };
  const tiles = Math.ceil(TOKENS / 128);
  return { rows: tiles, columns: tiles, diagonal: 0, reader };
}

Deno.test("antidiagonal scores by plain loops are those of the op", async () => {
  const input = numbers();
  const place = placeOf(input);
  for (const [name, stride] of [["anti8", 8], ["anti64", 64]] as const) {
    const { mass } = await selectAttentionBlocks({
      ...{ ...input, queryHeads: HEADS, kvHeads: 1, headDim: DIM, stride, threshold: 1 },
    });
    for (let head = 0; head < HEADS; head++) {
      const found = await METHODS[name]?.score(head, place) ?? [];
      assertEquals(found.length, 9);
      found.forEach((share, i) => {
        const wanted = mass[head * 9 + i] ?? NaN;
        assert(Math.abs(share - wanted) < 1e-4, `${name}, tile ${i}: ${share} against ${wanted}`);
      });
    }
  }
});

Deno.test("sampled and pooled scores are shares of the rows that they look at", async () => {
  const place = placeOf(numbers());
  const rows: Readonly<Record<string, readonly number[]>> = {
    mean: [1, 1, 1],
    mean16: [8, 8, 3],
    rr16: [8, 8, 3],
    q16k1: [8, 8, 3],
  };
  for (const [name, counts] of Object.entries(rows)) {
    const scores = await METHODS[name]?.score(0, place) ?? new Float32Array(0);
    counts.forEach((count, row) => {
      const shares = [...scores.subarray(row * 3, row * 3 + 3)];
      const sum = shares.reduce((sum, share) => sum + share, 0);
      assert(Math.abs(sum - count) < 1e-4, `${name}, row ${row}: ${sum}`);
      assert(shares.every((share, column) => column <= row || share === 0), name);
    });
  }
});

Deno.test("permuted tiles keep a row's mass, the own segment's tiles, and more of it in front", async () => {
  const place = placeOf(numbers());
  const natural = await permutedMasses(0, place, { tiles: 2, by: "none" });
  const sampled = await METHODS.q16k1?.score(0, place) ?? new Float32Array(0);
  natural.score.forEach((share, i) => assert(Math.abs(share - (sampled[i] ?? NaN)) < 1e-5, `${i}`));
  for (const by of ["last", "all"] as const) {
    const { exact } = await permutedMasses(0, place, { tiles: 2, by });
    for (const row of [0, 1, 2]) {
      const [now, before] = [exact, natural.exact].map((
        all,
      ) => [...all.slice(row * 3, row * 3 + 3)]);
      const sum = (shares: readonly number[] = []) => shares.reduce((sum, one) => sum + one, 0);
      assert(Math.abs(sum(now) - sum(before)) < 1e-3, `row ${row}`);
      // Rows 0 and 1 lie in the first segment; row 2 alone has one behind it.
      if (row < 2) assertEquals(now, before);
      else assert((now?.[0] ?? 0) > (before?.[0] ?? 0) && now?.[2] === before?.[2], by);
    }
  }
  const info = { ...place, head: 0 } as unknown as SelectionInfo;
  const way = { ...wayOf("pbs256:share-sink"), step: 10 };
  await assertRejects(
    () => tilesOf(info, way),
    RangeError,
    "Cannot run pbs256 as its tiles are of",
  );
});

Deno.test("stepsOfRow() takes tiles in the order of each rule", () => {
  const scores = Float32Array.of(1, 4, 1, 0, 2);
  const steps = (
    rule: Parameters<typeof stepsOfRow>[1]["rule"],
    sink = true,
    near = 0,
  ) => [...stepsOfRow(scores, { rule, sink, near })];
  // Sink and diagonal hold 3 of 8, with the second tile 7.
  assertEquals(steps("threshold"), [0, 76, 176, STEPS, 0]);
  assertEquals(steps("budget"), [0, 120, 160, STEPS, 0]);
  assertEquals(steps("max"), [0, 1, 20, STEPS, 0]);
  assertEquals(steps("share"), [0, 10, 30, STEPS, 0]);
  assertEquals(steps("share", false), [30, 10, 30, STEPS, 0]);
  assertEquals(steps("share", true, 1), [0, 10, 30, 0, 0]);
});

Deno.test("curves give step, density and what is kept", () => {
  const tiles = new Array<number>(STEPS + 1).fill(0);
  const mass = tiles.slice();
  [tiles[0], tiles[10], tiles[STEPS]] = [2, 2, 4];
  [mass[0], mass[10], mass[STEPS]] = [5, 3, 2];
  assertEquals(nearestStep({ tiles, mass }, 0.45), { step: 10, density: 0.5, kept: 0.8 });
  assertEquals(keptAt({ tiles, mass }, 0.375), 0.65);
  assertEquals(keptAt({ tiles, mass }, 0.2), undefined);
  for (const name of ["own:threshold", "mean16:share-sink+1"]) {
    assertEquals(nameOf(wayOf(name)), name);
  }
  for (const name of ["own", "own:other", "none:share"]) {
    assertThrows(() => wayOf(name), RangeError);
  }
});

Deno.test("try_scores.ts measures, scores and shows tables", async () => {
  const text = "The grass is green. The sky is blue. The sun is yellow. Here we go.\n";
  const needle = "One of the special magic numbers for quiet-harbor is: 4815162.\n";
  const sample = {
    ...{ index: 0, input_context: text.repeat(9) + needle + text.repeat(9) },
    input_query: "The special magic number for quiet-harbor mentioned in the provided text is",
    outputs: ["4815162"],
  };
  const task = "niah_single_1";
  await inFolder(
    { [`${task}/validation.jsonl`]: `${JSON.stringify(sample)}\n` },
    async (folder) => {
      const call = async (...args: string[]) => {
        const { code, stdout, stderr } = await runScript("scripts/try_scores.ts", args, {
          env: {},
          permissions: ["--allow-ffi", "--allow-run", "--allow-sys"],
        });
        assertEquals(code, 0, stderr);
        return stdout.trim().split("\n");
      };
      const [curves, out] = [`${folder}/curves.json`, `${folder}/results.jsonl`];
      const data = ["-d", folder, "--tasks", task];
      await call("mass", ...data, "--out", curves, "--methods", "own,mean16");
      const kept = await call("kept", "--out", curves);
      assertEquals(kept.length, 1 + 2 * 4 * 4);
      const ways = "own:share-sink@0.6,mean16:threshold@0.6";
      await call("ruler", ...data, "--curves", curves, "--out", out, "--ways", ways);
      const lines = await Deno.readTextFile(out);
      assertEquals(lines.trim().split("\n").length, 3);
      await call("ruler", ...data, "--curves", curves, "--out", out, "--ways", ways);
      assertEquals(await Deno.readTextFile(out), lines, "what is scored is not scored again");
      const table = await call("table", "--out", out, "--tasks", task);
      assertEquals(table.length, 4);
      assert(table[1]?.startsWith("| dense | 1.000 | 1 | 100.0 | 0.0 |"), table[1]);
    },
  );
});
