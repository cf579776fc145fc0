/**
 * A family that was added as data, OLMo 2, against a forward pass in double precision that follows
 * its paper (arXiv 2501.00656) and knows nothing of the library's layers.
 *
 * @module
 */
import { openWeightFiles } from "../../lib/model/weight_files.ts";
import { makeModel } from "../../scripts/make_model.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { runFamily } from "../helpers/families.ts";
import { Random } from "../helpers/random.ts";

const HIDDEN = 64;
const HEADS = 4;
const KEY_HEADS = 2;
const DIM = HIDDEN / HEADS;
const LAYERS = 2;
const EPS = 1e-6;

const CONFIG = {
  architectures: ["Olmo2ForCausalLM"],
  model_type: "olmo2",
  hidden_size: HIDDEN,
  intermediate_size: 96,
  num_hidden_layers: LAYERS,
  num_attention_heads: HEADS,
  num_key_value_heads: KEY_HEADS,
  vocab_size: 97,
  max_position_embeddings: 512,
  rms_norm_eps: EPS,
  rope_theta: 500_000,
  hidden_act: "silu",
  attention_bias: false,
  tie_word_embeddings: false,
};

type Rows = number[][];
type Weights = ReadonlyMap<
  string,
  { readonly shape: readonly number[]; readonly data: Float32Array }
>;

async function readWeights(folder: string): Promise<Weights> {
  using files = await openWeightFiles(folder);
  return new Map(
    [...files.entries].map(([name, { shape, file, begin, end }]) => {
      const data = new Float32Array(file.bytes.slice(begin, end).buffer);
      return [name, { shape, data }];
    }),
  );
}

/** The forward pass: the logits of the last position. */
class Reference {
  readonly #weights: Weights;

  constructor(weights: Weights) {
    this.#weights = weights;
  }

  logits(ids: readonly number[]): number[] {
    const embedding = this.#of("model.embed_tokens").data;
    let x: Rows = ids.map((id) => [...embedding.subarray(id * HIDDEN, (id + 1) * HIDDEN)]);
    for (let layer = 0; layer < LAYERS; layer++) {
      const path = `model.layers.${layer}`;
      const attended = this.#attention(`${path}.self_attn`, x);
      x = sum(x, this.#norm(`${path}.post_attention_layernorm`, attended));
      const gate = this.#product(`${path}.mlp.gate_proj`, x);
      const up = this.#product(`${path}.mlp.up_proj`, x);
      const active = gate.map((row, t) =>
        row.map((value, i) => value / (1 + Math.exp(-value)) * (up[t]?.[i] ?? NaN))
      );
      const fed = this.#product(`${path}.mlp.down_proj`, active);
      x = sum(x, this.#norm(`${path}.post_feedforward_layernorm`, fed));
    }
    return this.#product("lm_head", this.#norm("model.norm", x.slice(-1)))[0] ?? [];
  }

  #attention(path: string, x: Rows): Rows {
    const q = this.#norm(`${path}.q_norm`, this.#product(`${path}.q_proj`, x));
    const k = this.#norm(`${path}.k_norm`, this.#product(`${path}.k_proj`, x));
    const v = this.#product(`${path}.v_proj`, x);
    const head = (rows: Rows, h: number): Rows =>
      rows.map((row) => row.slice(h * DIM, (h + 1) * DIM));
    const heads = Array.from({ length: HEADS }, (_, h) => {
      const keyHead = Math.floor(h / (HEADS / KEY_HEADS));
      const [queries, keys] = [rotate(head(q, h)), rotate(head(k, keyHead))];
      const values = head(v, keyHead);
      return queries.map((query, t) => {
        const weights = keys.slice(0, t + 1).map((key) =>
          Math.exp(dot(query, key) / Math.sqrt(DIM))
        );
        const total = weights.reduce((all, weight) => all + weight, 0);
        return Array.from(
          { length: DIM },
          (_, d) =>
            weights.reduce((all, weight, j) => all + weight * (values[j]?.[d] ?? NaN), 0) / total,
        );
      });
    });
    return this.#product(`${path}.o_proj`, x.map((_, t) => heads.flatMap((rows) => rows[t] ?? [])));
  }

  #norm(name: string, x: Rows): Rows {
    const { data } = this.#of(name);
    return x.map((row) => {
      const scale = 1 / Math.sqrt(dot(row, row) / row.length + EPS);
      return row.map((value, i) => value * scale * (data[i] ?? NaN));
    });
  }

  #product(name: string, x: Rows): Rows {
    const { data, shape: [rows = 0, columns = 0] } = this.#of(name);
    return x.map((row) =>
      Array.from(
        { length: rows },
        (_, i) => dot(row, data.subarray(i * columns, (i + 1) * columns)),
      )
    );
  }

  #of(name: string): { readonly shape: readonly number[]; readonly data: Float32Array } {
    const found = this.#weights.get(`${name}.weight`);
    assert(found !== undefined, name);
    return found;
  }
}

function dot(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let all = 0;
  for (let i = 0; i < a.length; i++) all += (a[i] ?? NaN) * (b[i] ?? NaN);
  return all;
}

function sum(a: Rows, b: Rows): Rows {
  return a.map((row, t) => row.map((value, i) => value + (b[t]?.[i] ?? NaN)));
}

/** Pairs are halves of a head apart. */
function rotate(x: Rows): Rows {
  return x.map((row, position) =>
    row.map((value, i) => {
      const pair = i % (DIM / 2);
      const angle = position / CONFIG.rope_theta ** (2 * pair / DIM);
      const isFirst = i < DIM / 2;
      const other = row[isFirst ? i + DIM / 2 : pair] ?? NaN;
      return value * Math.cos(angle) + (isFirst ? -other : other) * Math.sin(angle);
    })
  );
}

Deno.test("generate() computes OLMo 2 as its paper says", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await makeModel(folder, { config: CONFIG, dtype: "f32", shards: 1, seed: 3 });
    const ids = [...new Random(4).ints(300, { low: 0, high: CONFIG.vocab_size - 1 })];
    const expected = new Reference(await readWeights(folder)).logits(ids);
    const mean = expected.reduce((all, logit) => all + logit, 0) / expected.length;
    const std = Math.sqrt(
      expected.reduce((all, logit) => all + (logit - mean) ** 2, 0) / expected.length,
    );
    const { topLogits } = await runFamily(folder, { ids, tokensToGenerate: 1 });
    assertEquals(topLogits.length, CONFIG.vocab_size);
    for (const [id, logit] of topLogits) {
      const error = Math.abs(logit - (expected[id] ?? NaN)) / std;
      assert(error <= 1e-3, `the logit of ${id} is off by ${error} standard deviations`);
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
