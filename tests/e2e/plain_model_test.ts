/**
 * The forward pass against plain loops in double precision: models of shapes that no reference has,
 * and what bf16 costs.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
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

const VOCABULARY = 97;
const SIZES = {
  hidden_size: 96,
  intermediate_size: 64,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  vocab_size: VOCABULARY,
  max_position_embeddings: 1024,
  rms_norm_eps: 1e-5,
  hidden_act: "silu",
  tie_word_embeddings: false,
};
const WINDOW = { sliding_window: 70 };
const MIXED = ["full_attention", "sliding_attention", "full_attention"];

function longRope(pairs: number): Record<string, unknown> {
  const factors = (step: number) => Array.from({ length: pairs }, (_, i) => 1 + step * i);
  return {
    original_max_position_embeddings: 128,
    rope_parameters: {
      rope_type: "longrope",
      rope_theta: 10_000,
      partial_rotary_factor: 0.75,
      short_factor: factors(0.01),
      long_factor: factors(0.4),
      original_max_position_embeddings: 128,
    },
  };
}

/** Shapes by what is unusual about them. */
const MODELS: Readonly<Record<string, Record<string, unknown>>> = {
  "Llama, heads of 100, biases, dynamic NTK": {
    architectures: ["LlamaForCausalLM"],
    head_dim: 100,
    attention_bias: true,
    mlp_bias: true,
    rope_theta: 10_000,
    max_position_embeddings: 200,
    rope_scaling: { type: "dynamic", factor: 4 },
  },
  "Mistral, heads of 80, all layers with a window": {
    architectures: ["MistralForCausalLM"],
    head_dim: 80,
    ...WINDOW,
  },
  "Qwen 2, heads of 16, a window from layer 1 on": {
    architectures: ["Qwen2ForCausalLM"],
    num_attention_heads: 6,
    use_sliding_window: true,
    max_window_layers: 1,
    ...WINDOW,
  },
  "Qwen 2, heads of 24, a window in the middle": {
    architectures: ["Qwen2ForCausalLM"],
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Qwen 3, heads of 112, a window in the middle": {
    architectures: ["Qwen3ForCausalLM"],
    head_dim: 112,
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Phi 3, heads of 96, LongRoPE on three quarters, a window": {
    architectures: ["Phi3ForCausalLM"],
    hidden_size: 192,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    ...longRope(36),
    ...WINDOW,
  },
  "SmolLM 3, heads of 32, no rotation and no window in some layers": {
    architectures: ["SmolLM3ForCausalLM"],
    num_attention_heads: 3,
    num_key_value_heads: 1,
    no_rope_layers: [1, 0, 1],
    use_sliding_window: true,
    layer_types: MIXED,
    ...WINDOW,
  },
  "Granite, heads of 24, all multipliers": {
    architectures: ["GraniteForCausalLM"],
    embedding_multiplier: 12,
    attention_multiplier: 0.1,
    residual_multiplier: 0.3,
    logits_scaling: 5,
    attention_bias: true,
  },
  "OLMo 2, heads of 24, YaRN": {
    architectures: ["Olmo2ForCausalLM"],
    rope_theta: 500_000,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 256 },
  },
};

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
  config: Record<string, unknown>,
  use: (folder: string) => Promise<void>,
): Promise<void> {
  const options: MakeModelOptions = {
    config: { ...SIZES, ...config },
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
  for (const [i, [name, config]] of Object.entries(MODELS).entries()) {
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

Deno.test("the README's errors of OLMo 2 are those of a model of published proportions", async () => {
  const ids = [...new Random(7).ints(300, { low: 0, high: VOCABULARY - 1 })];
  const sizes = { hidden_size: 128, intermediate_size: 128, num_attention_heads: 2 };
  const config = { architectures: ["Olmo2ForCausalLM"], ...sizes, rope_theta: 500_000 };
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
 * nothing else. Where a number falls on the other side of a rounding border, errors differ by chance.
 */
const CHANCE = 1.5;

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
        const rounded = plain.logits(
          ids,
          (place, values) => place === "result" ? values : toBf16(values),
        );
        const topLogits = [...rounded].map((logit, id) => [id, logit] as const);
        const cost = logitErrors({ topLogits }, expected);
        const found = logitErrors(
          await runFamily(folder, { ids, dtype: "bf16", tokensToGenerate: 1 }),
          expected,
        );
        const words = `${JSON.stringify(found)}, rounding costs ${JSON.stringify(cost)}`;
        assert(found.rootMeanSquare <= CHANCE * cost.rootMeanSquare, words);
        assert(found.largest <= CHANCE * cost.largest, words);
      });
    }
  },
});
