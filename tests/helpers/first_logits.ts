/**
 * What a model says of one prompt on the CPU: for tests of what rounding changes.
 *
 * @module
 */
import { loadModel } from "../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../lib/engine/model_options.ts";

/** Logits of all tokens, by their ids, and what was generated. */
export interface FirstLogits {
  readonly ids: readonly number[];
  readonly logits: readonly number[];
}

/** The logits of the first token behind a prompt, and six generated ids. */
export async function firstLogits(
  folder: string,
  prompt: { context: string; query: string },
  options: LoadOptions = {},
): Promise<FirstLogits> {
  await using model = await loadModel(folder, { device: "cpu", threads: 1, ...options });
  const topLogits = model.config.vocabularySize;
  const { ids, topLogits: found } = await model.generate(prompt, {
    tokensToGenerate: 6,
    topLogits,
  });
  return { ids, logits: found.toSorted(([a], [b]) => a - b).map(([, logit]) => logit) };
}

/** The cosine of the angle between two rows of numbers. */
export function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, value, i) => sum + value * (y[i] ?? NaN), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
