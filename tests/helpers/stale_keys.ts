/**
 * Runs a batch on pages of zeros and on pages of NaN: nobody may read what no sequence has written.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import type { Device } from "../../lib/device/device.ts";
import { stagesOn } from "../../lib/device/stages.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import { assert, assertEquals } from "./assert.ts";
import { poisoned } from "./poisoned.ts";

const BLOCKS = { blockTokens: 256, anchorTokens: 128 } as const;

/** The modes that one rank has. */
export const STALE_MODES: readonly PlanOptions[] = [
  { mode: "dense" },
  { mode: "xattn" },
  { mode: "star", ...BLOCKS },
  { mode: "starx", ...BLOCKS },
];

/** Lengths that end amid a page, at its end, and behind it. */
const LENGTHS = [300, 383, 384, 386] as const;
const QUERY_TOKENS = 20;
const ANSWER_TOKENS = 5;

async function answersOf(device: Device, options: PlanOptions): Promise<unknown> {
  const config = modelShape("small");
  assert(config !== undefined);
  const stages = stagesOn([device], config);
  using weights = await randomWeights(stages, config);
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan: checkPlan(options), precision: PRECISIONS.bf16 },
    ...{ chunkTokens: 256, batchSize: LENGTHS.length },
  });
  using collective = new SelfCollective();
  const call = { collective, onProgress: () => {}, onLayer: () => {}, onToken: () => {} };
  using owned = new DisposableStack();
  const answers: Answer[] = [];
  for (const [i, length] of LENGTHS.entries()) {
    const ids = Int32Array.from({ length }, (_, t) => (31 * t + 7 * i) % 4096);
    const room = QUERY_TOKENS + ANSWER_TOKENS;
    const encoded = owned.use(await model.encode(ids, { ...call, room, others: 3 - i }));
    const request = {
      ...{ sample: "stale", queryIds: ids.slice(0, QUERY_TOKENS), stopIds: [], topLogits: 8 },
      tokensToGenerate: ANSWER_TOKENS,
    };
    answers.push(await model.begin(encoded, { ...call, request }));
  }
  await model.decode(answers, { ...call, maxSteps: Infinity });
  return answers.map(({ ids, topLogits }) => ({ ids: [...ids], topLogits }));
}

/** What a device computes must not depend on what free pages hold. */
export async function checkStaleKeys(device: Device, options: PlanOptions): Promise<void> {
  const expected = await answersOf(device, options);
  assertEquals(await answersOf(poisoned(device), options), expected);
}
