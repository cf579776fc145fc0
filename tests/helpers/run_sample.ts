/**
 * One sample on one rank of this process.
 *
 * @module
 */
import type { RankModel } from "../../lib/engine/rank.ts";
import type { Collective } from "../../lib/parallel/collective.ts";
import type { GenerateRequest } from "../../lib/star/request.ts";

/** Steps that are started at once. */
const STEPS = 8;

/** What a rank found. */
export interface SampleResult {
  readonly ids: readonly number[];
  /** Only on the query rank. */
  readonly topLogits: readonly (readonly [number, number])[];
  /** Per block of this rank and layer. */
  readonly selectedTiles: readonly (readonly [number, number])[];
}

/** Encodes and answers; all ranks of the collective must run the same sample. */
export async function runSample(
  model: RankModel,
  request: GenerateRequest,
  options: { collective: Collective },
): Promise<SampleResult> {
  const { collective } = options;
  using encoded = await model.encode(request.contextIds, {
    collective,
    room: request.queryIds.length + request.tokensToGenerate,
    onProgress: () => {},
  });
  const call = { request, collective, onLayer: () => {}, onToken: () => {} };
  const answer = await model.begin(encoded, call);
  while (!answer.isDone) await model.decode([answer], { ...call, maxSteps: STEPS });
  if (answer.failure !== undefined) throw answer.failure;
  const { ids, topLogits } = answer;
  const selectedTiles = encoded.phase1.selected.flatMap((layers) =>
    layers.map(({ selected, causal }) => [selected, causal] as const)
  );
  return { ids, topLogits, selectedTiles };
}
