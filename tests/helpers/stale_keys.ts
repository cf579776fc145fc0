/**
 * Runs a batch on pages of zeros and on pages that hold something else (`poisoned.ts`), or that a
 * sequence had whose logits were not finite: it must change nothing.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import type { Device } from "../../lib/device/device.ts";
import { stagesOn } from "../../lib/device/stages.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import { FileError } from "../../lib/errors.ts";
import { parseConfig } from "../../lib/model/config.ts";
import { type CacheKind, PRECISIONS } from "../../lib/model/precision.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import type { EncodedContext } from "../../lib/star/encode.ts";
import { assert, assertEquals } from "./assert.ts";
import { isFinite, poisoned, poisonSequence } from "./poisoned.ts";

const BLOCKS = { blockTokens: 256, anchorTokens: 128 } as const;

/** The modes that one rank has. */
export const STALE_MODES: readonly PlanOptions[] = [
  { mode: "dense" },
  { mode: "xattn" },
  { mode: "star", ...BLOCKS },
  { mode: "starx", ...BLOCKS },
  { mode: "dense", decodeKeep: 0.5 },
  { mode: "star", ...BLOCKS, decodeKeep: { threshold: 0.6 } },
];

/** A mode, and what keys and values are rounded to. */
export interface StaleRun extends PlanOptions {
  /** @default {"bf16"} */
  readonly kind?: CacheKind;
}

/** A mode and what it keeps, for the names of tests. */
export function staleName({ mode, decodeKeep }: PlanOptions): string {
  return decodeKeep === undefined ? `${mode}` : `${mode}, keeping ${JSON.stringify(decodeKeep)}`;
}

/** Lengths that end amid a page, at its end, and behind it. */
const LENGTHS = [300, 383, 384, 386] as const;
const QUERY_TOKENS = 20;
const ANSWER_TOKENS = 5;
const ROOM = QUERY_TOKENS + ANSWER_TOKENS;

/** A token that makes NaN of whatever sees it; in no other sequence. */
const BAD_ID = 4095;

const CONFIG = parseConfig({
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  rms_norm_eps: 1e-5,
  // The head is a matrix of its own, which has no NaN.
  tie_word_embeddings: false,
  hidden_size: 128,
  intermediate_size: 192,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 64,
  vocab_size: BAD_ID + 1,
  max_position_embeddings: 4096,
  rope_theta: 10000,
}, { path: "config.json" });

/** A model with random weights on one device, and what can be done with it. */
class StaleModel implements Disposable {
  readonly #owned: DisposableStack;
  readonly #model: RankModel;
  readonly #collective: SelfCollective;

  private constructor(model: RankModel, owned: DisposableStack) {
    this.#model = model;
    this.#owned = owned;
    this.#collective = owned.use(new SelfCollective());
  }

  static async open(device: Device, run: StaleRun): Promise<StaleModel> {
    const { kind: cache = "bf16", ...options } = run;
    using owned = new DisposableStack();
    const stages = stagesOn([device], CONFIG);
    const weights = owned.use(await randomWeights(stages, CONFIG));
    const bad = weights.embedding.rows(BAD_ID, 1);
    await bad.writeFrom(new Float32Array(bad.size).fill(NaN));
    const model = owned.use(
      await RankModel.assemble({
        ...{ config: CONFIG, stages, weights, plan: checkPlan(options) },
        ...{ precision: { ...PRECISIONS.bf16, cache }, chunkTokens: 256 },
        batchSize: LENGTHS.length,
      }),
    );
    return new StaleModel(model, owned.move());
  }

  get #call() {
    return {
      collective: this.#collective,
      ...{ onProgress: () => {}, onLayer: () => {}, onToken: () => {} },
    };
  }

  async encode(ids: Int32Array, others = 0): Promise<EncodedContext> {
    return await this.#model.encode(ids, { ...this.#call, room: ROOM, others });
  }

  async ask(encoded: EncodedContext, queryIds: Int32Array): Promise<Answer> {
    const request = {
      ...{ sample: "stale", queryIds, stopIds: [], topLogits: 8 },
      tokensToGenerate: ANSWER_TOKENS,
    };
    return await this.#model.begin(encoded, { ...this.#call, request });
  }

  async decode(answers: readonly Answer[]): Promise<void> {
    await this.#model.decode(answers, { ...this.#call, maxSteps: Infinity });
  }

  /** What a batch of all lengths gives, whose pages must be finite. */
  async answers(): Promise<unknown> {
    using owned = new DisposableStack();
    const answers: Answer[] = [];
    for (const [i, length] of LENGTHS.entries()) {
      const ids = idsOf(length, 7 * i);
      const encoded = owned.use(await this.encode(ids, LENGTHS.length - 1 - i));
      answers.push(await this.ask(encoded, ids.slice(0, QUERY_TOKENS)));
    }
    await this.decode(answers);
    return answers.map(resultOf);
  }

  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

function idsOf(length: number, first: number): Int32Array {
  return Int32Array.from({ length }, (_, t) => (31 * t + first) % BAD_ID);
}

function resultOf({ ids, topLogits }: Answer): unknown {
  return { ids: [...ids], topLogits };
}

async function answersOf(device: Device, options: StaleRun): Promise<unknown> {
  using model = await StaleModel.open(device, options);
  return await model.answers();
}

/**
 * What a device computes must not depend on what free pages hold; on a GPU, which reads whole tiles,
 * that is finite, or it is known that it may not be.
 */
export async function checkStaleKeys(device: Device, options: StaleRun): Promise<void> {
  const expected = await answersOf(device, options);
  if (device.hasHostMemory) assertEquals(await answersOf(poisoned(device), options), expected);
  const { layerCount } = CONFIG;
  for (const [value, isSuspect] of [[48.5, false], [NaN, true], [-Infinity, true]] as const) {
    using model = await StaleModel.open(device, options);
    const contexts = [];
    for (const length of LENGTHS) {
      const encoded = await model.encode(idsOf(length, 3), 3);
      await poisonSequence(encoded.sequence, { layerCount, value });
      encoded.sequence.isSuspect = isSuspect;
      contexts.push(encoded);
    }
    for (const encoded of contexts) encoded[Symbol.dispose]();
    assertEquals(await model.answers(), expected, `free pages of ${value}`);
  }
}

/** A sequence whose logits are not finite leaves nothing to those that get its pages later. */
export async function checkFailedSequence(device: Device, options: StaleRun): Promise<void> {
  const expected = await answersOf(device, options);
  const { layerCount } = CONFIG;
  const [, , , length = 0] = LENGTHS;
  const query = idsOf(QUERY_TOKENS, 3);
  const badQuery = query.with(QUERY_TOKENS - 2, BAD_ID);
  using model = await StaleModel.open(device, options);
  {
    using bad = await model.encode(idsOf(length, 0).with(17, BAD_ID), LENGTHS.length - 1);
    const answer = await model.ask(bad, query);
    assert(answer.isDone && answer.failure instanceof FileError);
    assert(!(await isFinite(bad.sequence, { layerCount })));
  }
  {
    using again = await model.encode(idsOf(LENGTHS[0], 0));
    assert(
      await isFinite(again.sequence, { layerCount }),
      "pages are zeroed before they are reused",
    );
    // A context can be asked again after a query that failed.
    const fresh = await model.ask(again, query);
    await model.decode([fresh]);
    assert((await model.ask(again, badQuery)).failure instanceof FileError);
    const second = await model.ask(again, query);
    assert(await isFinite(again.sequence, { layerCount }));
    await model.decode([second]);
    assertEquals(resultOf(second), resultOf(fresh));
  }
  assertEquals(await model.answers(), expected);
}
