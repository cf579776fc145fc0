/**
 * Log-probabilities of tokens that are given, from the logits of the positions before them.
 *
 * @module
 */
import type { Tensor } from "../device/tensor.ts";

/** What the model gives a token that follows on a position. */
export interface TokenScore {
  /** Natural logarithm of the token's probability. */
  readonly logprob: number;
  /** `[id, logprob]` of the most likely tokens there, most likely first; equal ones by id. */
  readonly top: readonly (readonly [number, number])[];
}

/**
 * Scores the tokens behind some rows of logits; sums are made in f64 on the host.
 *
 * @param logits [rows, vocabulary] f32. @param options `targets`: the token behind each row, -1 for
 * the most likely one; `top`: how many of the most likely ones to return.
 */
export async function scoreRows(
  logits: Tensor,
  options: { targets: Int32Array; top: number },
): Promise<TokenScore[]> {
  const { targets, top } = options;
  const values = await logits.toFloats();
  const width = values.length / targets.length;
  return Array.from(
    targets,
    (target, row) => scoreRow(values.subarray(row * width, (row + 1) * width), { target, top }),
  );
}

function scoreRow(row: Float32Array, options: { target: number; top: number }): TokenScore {
  const { target, top } = options;
  const largest = row.reduce((a, b) => Math.max(a, b), -Infinity);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - largest);
  const normalizer = largest + Math.log(sum);
  const best = largestOf(row, Math.max(1, top));
  const id = target < 0 ? best[0] ?? 0 : target;
  return {
    logprob: (row[id] ?? NaN) - normalizer,
    top: best.slice(0, top).map((id) => [id, (row[id] ?? NaN) - normalizer] as const),
  };
}

/** The places of the largest numbers, without sorting all of them. */
function largestOf(row: Float32Array, count: number): number[] {
  const best: number[] = [];
  for (let id = 0; id < row.length; id++) {
    const value = row[id] ?? -Infinity;
    const last = row[best.at(-1) ?? -1] ?? -Infinity;
    if (best.length >= count && value <= last) continue;
    const place = best.findIndex((other) => (row[other] ?? -Infinity) < value);
    best.splice(place < 0 ? best.length : place, 0, id);
    if (best.length > count) best.pop();
  }
  return best;
}
