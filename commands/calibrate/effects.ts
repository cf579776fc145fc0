/**
 * What answers lose where a layer computes little: tiles of a layer that no answer needs are worth
 * nothing, however much of the attention they hold.
 *
 * @module
 */
import type { MassCurves } from "../../lib/attention/mass_curves.ts";
import { PLAN_DEFAULTS, type PlanOptions } from "../../lib/attention/plan.ts";
import type { Model } from "../../lib/engine/load_model.ts";
import type { AnswerEffects, MeasuredPrompt } from "./curve_file.ts";
import { poolCurves } from "./thresholds.ts";

/** Scores the answer of exact attention, with each layer in turn at its diagonal tiles alone. */
export async function measureEffects(
  model: Model,
  prompt: { context: string; query: string; answer: readonly number[] },
  options: { plan: PlanOptions; sample: string; signal: AbortSignal },
): Promise<AnswerEffects> {
  const { config: { layerCount, queryHeads }, tokenizer } = model;
  const { plan, sample, signal } = options;
  const query = await tokenizer.encode(prompt.query);
  const continuation = Int32Array.from([...query, ...prompt.answer]);
  const lost: number[] = [];
  for (let layer = 0; layer < layerCount - 1; layer++) {
    // By share, 1 is the diagonal alone and 0 every tile.
    const layers = Array.from(
      { length: layerCount },
      (_, other) => new Array<number>(queryHeads).fill(other === layer ? 1 : 0),
    );
    const { stride = PLAN_DEFAULTS.stride } = plan;
    const threshold = { stride, rule: "share", layers, model: null } as const;
    const { tokens } = await model.score(prompt.context, continuation, {
      ...{ top: 1, sample, signal, plan: { ...plan, threshold } },
    });
    const answer = tokens.slice(query.length);
    lost.push(answer.filter(({ id, top: [first] }) => first?.[0] !== id).length);
  }
  return { tokens: prompt.answer.length, lost };
}

/**
 * What a unit of attention is worth in each layer, 0 to 1: the share of the answers' tokens that are
 * lost with the diagonal alone, for each unit of attention that is lost so.
 *
 * @param pooled The curves of all prompts together.
 */
export function worthOf(pooled: MassCurves, effects: readonly AnswerEffects[]): readonly number[] {
  const asked = effects.filter(({ tokens }) => tokens > 0);
  const worth = Array.from({ length: pooled.layers }, (_, layer) => {
    const lost = asked.reduce((sum, one) => sum + (one.lost[layer] ?? 0) / one.tokens, 0);
    let attention = 0;
    for (let head = 0; head < pooled.heads; head++) {
      attention += 1 - (pooled.of(layer, head).kept[0] ?? 0);
    }
    return attention === 0 ? 0 : lost / attention;
  });
  const most = Math.max(...worth);
  // Where nothing is lost, nothing is known.
  return worth.map((one) => most === 0 ? 1 : one / most);
}

/** All prompts together; `worth` is undefined where the effects of layers were not measured. */
export function poolMeasured(
  measured: readonly MeasuredPrompt[],
): { curves: MassCurves; worth: readonly number[] | undefined } {
  const curves = poolCurves(measured.map(({ curves }) => curves));
  const effects = measured.flatMap(({ effects }) => effects ?? []);
  return { curves, worth: effects.length === 0 ? undefined : worthOf(curves, effects) };
}
