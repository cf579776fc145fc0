/**
 * The forward pass against plain loops in double precision: models of shapes that no reference has,
 * and what bf16 costs.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import type { ConfigValues } from "../../lib/model/shapes.ts";
import { makeModel, type MakeModelOptions } from "../../scripts/make_model.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import {
  documentedErrors,
  familiesFolder,
  type FamilyCase,
  familyCases,
  logitErrors,
  runFamily,
} from "../helpers/families.ts";
import { inFolder } from "../helpers/folder.ts";
import { PlainModel, toBf16 } from "../helpers/plain_model.ts";
import { Random } from "../helpers/random.ts";
import { SIZES, UNUSUAL_MODELS, VOCABULARY } from "../helpers/unusual_models.ts";

/** Modes that leave nothing out. */
const MODES: readonly (readonly [string, PlanOptions, number])[] = [
  ["ring on 3 ranks", { mode: "ring" }, 3],
  ["star with one block", { mode: "star", blockTokens: 512 }, 1],
  ["xattn with threshold 1", { mode: "xattn", threshold: 1, stride: 16 }, 1],
  ["ringx with threshold 1 on 2 ranks", { mode: "ringx", threshold: 1, stride: 16 }, 2],
];

/** The largest error of float32's logits, in standard deviations. */
const TOLERANCE = 1e-3;

/** What plain loops compute, as a reference. */
function caseOf(ids: readonly number[], logits: Float64Array): FamilyCase {
  const mean = logits.reduce((sum, logit) => sum + logit, 0) / logits.length;
  const squares = logits.reduce((sum, logit) => sum + (logit - mean) ** 2, 0);
  const std = Math.sqrt(squares / logits.length);
  return { ids, last_logits: [...logits], greedy: [], margins: [], std };
}

async function withModel(
  config: ConfigValues,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const options: MakeModelOptions = {
    config,
    dtype: "bf16",
    shards: 1,
    seed: 5,
  };
  await inFolder({}, async (folder) => {
    await makeModel(folder, options);
    await use(folder);
  });
}

Deno.test("generate() computes models of unusual shapes in every exact mode", async (t) => {
  const ids = [...new Random(6).ints(300, { low: 0, high: VOCABULARY - 1 })];
  for (const [i, [name, config]] of Object.entries(UNUSUAL_MODELS).entries()) {
    await withModel(config, async (folder) => {
      const plain = await PlainModel.load(folder);
      const expected = caseOf(ids, plain.logits(ids));
      // Every mode's turn comes; all of them for every shape would take minutes.
      const other = MODES[i % MODES.length];
      const modes: typeof MODES = [["dense", { mode: "dense" }, 1], ...other ? [other] : []];
      for (const [mode, plan, processCount] of modes) {
        await t.step(`${name}: ${mode}`, async () => {
          const run = { ids, plan, processCount, tokensToGenerate: 1 };
          const { largest } = logitErrors(await runFamily(folder, run), expected);
          assert(largest <= TOLERANCE, `the error must be at most ${TOLERANCE}: it is ${largest}`);
        });
      }
    });
  }
});

/** Star Attention's blocks: 300 tokens of which 280 are context make three, the last one shorter. */
const STAR = { blockTokens: 128, anchorTokens: 128, contextTokens: 280 } as const;

/** Each token of the context sees its block and the anchor, what follows sees everything. */
function seesInStar(query: number, key: number): boolean {
  const { blockTokens, anchorTokens, contextTokens } = STAR;
  const blockOf = (token: number) => Math.floor(token / blockTokens);
  return query >= contextTokens || key < anchorTokens || blockOf(key) === blockOf(query);
}

Deno.test("generate() in star with windows sees by position in the whole context", async (t) => {
  const ids = [...new Random(8).ints(300, { low: 0, high: VOCABULARY - 1 })];
  const { blockTokens, anchorTokens } = STAR;
  const windowed = Object.entries(UNUSUAL_MODELS).filter(([, { sliding_window: window }]) =>
    window !== undefined
  );
  for (const [i, [name, config]] of windowed.entries()) {
    await withModel({ ...config, sliding_window: 150 }, async (folder) => {
      const plain = await PlainModel.load(folder);
      const expected = caseOf(ids, plain.logits(ids, { sees: seesInStar }));
      const exact = caseOf(ids, plain.logits(ids));
      // What is left out is seen in the result, else this test could not fail.
      const topLogits = exact.last_logits.map((logit, id) => [id, logit] as const);
      assert(logitErrors({ topLogits }, expected).largest > 10 * TOLERANCE);
      const modes: (readonly ["star" | "starx", number])[] = [
        ["star", 1],
        i % 2 === 0 ? ["star", 3] : ["starx", 2],
      ];
      for (const [mode, processCount] of modes) {
        await t.step(`${name}: ${mode}, ${processCount} ranks`, async () => {
          const plan = { mode, blockTokens, anchorTokens, threshold: 1 };
          const run = { ids, plan, processCount, tokensToGenerate: 1 };
          const { largest } = logitErrors(await runFamily(folder, run), expected);
          assert(largest <= TOLERANCE, `the error must be at most ${TOLERANCE}: it is ${largest}`);
        });
      }
    });
  }
});

/** Windows of no piece, of some, and of nearly all; the query's are longer and shorter than a step's. */
const RING_RUNS = [
  { mode: "ring", ranks: 2, window: 450, contextTokens: 630 },
  { mode: "ring", ranks: 3, window: 200, contextTokens: 690 },
  { mode: "ring", ranks: 2, window: 60, contextTokens: 690 },
  { mode: "ringx", ranks: 2, window: 450, contextTokens: 630 },
] as const;

Deno.test("generate() in the ring's modes with windows sees by position", async (t) => {
  const ids = [...new Random(9).ints(700, { low: 0, high: VOCABULARY - 1 })];
  const windowed = Object.entries(UNUSUAL_MODELS).filter(([, { sliding_window: window }]) =>
    window !== undefined
  );
  assert(windowed.length > 1);
  for (const [i, { mode, ranks, window, contextTokens }] of RING_RUNS.entries()) {
    const [name, config] = windowed[i % windowed.length] ?? ["none", {}];
    await t.step(`${name}: ${mode}, ${ranks} ranks, window ${window}`, async () => {
      await withModel({ ...config, sliding_window: window }, async (folder) => {
        const plain = await PlainModel.load(folder);
        const expected = caseOf(ids, plain.logits(ids));
        const run = { ids, contextTokens, tokensToGenerate: 8 };
        const dense = await runFamily(folder, run);
        const plan: PlanOptions = { mode, threshold: 1 };
        const found = await runFamily(folder, { ...run, plan, processCount: ranks });
        const { largest } = logitErrors(found, expected);
        assert(largest <= TOLERANCE, `the error must be at most ${TOLERANCE}: it is ${largest}`);
        assertEquals(found.ids, dense.ids);
      });
    });
  }
});

Deno.test("the README's errors of OLMo 2 are those of a model of published proportions", async () => {
  const ids = [...new Random(7).ints(300, { low: 0, high: VOCABULARY - 1 })];
  const sizes = { hidden_size: 128, intermediate_size: 128, num_attention_heads: 2 };
  const olmo = { architectures: ["Olmo2ForCausalLM"], ...sizes, rope_theta: 500_000 };
  const config = { ...SIZES, ...olmo };
  await withModel(config, async (folder) => {
    const expected = caseOf(ids, (await PlainModel.load(folder)).logits(ids));
    const errorsIn = async (dtype: "f32" | "bf16") =>
      logitErrors(await runFamily(folder, { ids, dtype, tokensToGenerate: 1 }), expected);
    const [exact, rounded] = [await errorsIn("f32"), await errorsIn("bf16")];
    const { f32, bf16, largest } = documentedErrors("Olmo2ForCausalLM");
    const found = JSON.stringify({ exact, rounded });
    assert(exact.largest <= f32 && rounded.rootMeanSquare <= bf16, found);
    assert(rounded.largest <= largest, found);
  });
});

/**
 * What bf16 must cost: inputs of products, queries, keys, values and softmax weights are rounded, and
 * nothing else. Where a number falls on the other side of a rounding border, errors differ by chance;
 * the largest of all differs more than their mean (1.56 of what it is here with AVX2, for phi3).
 */
const CHANCE = { rootMeanSquare: 1.5, largest: 2 };

const CASES = familyCases();

Deno.test({
  name: "generate() in bf16 is off by what rounding the inputs of products costs, not by more",
  ignore: CASES.size === 0,
  fn: async (t) => {
    for (const [name, expected] of CASES) {
      await t.step(name, async () => {
        const folder = `${familiesFolder()}/${name}`;
        const { ids, std } = expected;
        const plain = await PlainModel.load(folder);
        const exact = caseOf(ids, plain.logits(ids));
        assertEquals(exact.last_logits.length, expected.last_logits.length);
        for (const [id, logit] of exact.last_logits.entries()) {
          const error = Math.abs(logit - (expected.last_logits[id] ?? NaN)) / std;
          assert(error <= 1e-4, `plain loops are off by ${error} at ${id}`);
        }
        const rounded = plain.logits(ids, {
          round: (place, values) => place === "result" ? values : toBf16(values),
        });
        const topLogits = [...rounded].map((logit, id) => [id, logit] as const);
        const cost = logitErrors({ topLogits }, expected);
        const found = logitErrors(
          await runFamily(folder, { ids, dtype: "bf16", tokensToGenerate: 1 }),
          expected,
        );
        const words = `${JSON.stringify(found)}, rounding costs ${JSON.stringify(cost)}`;
        assert(found.rootMeanSquare <= CHANCE.rootMeanSquare * cost.rootMeanSquare, words);
        assert(found.largest <= CHANCE.largest * cost.largest, words);
      });
    }
  },
});
