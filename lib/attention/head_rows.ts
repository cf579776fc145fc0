/**
 * Copies some tokens of each head from one cache to another, on the device, or overwrites them.
 *
 * @module
 */
import type { Tensor } from "../device/tensor.ts";
import { copy } from "../ops/convert.ts";

/** Keys or values of some tokens: [heads, rows, head_dim], from row `start` on. */
export interface HeadRows {
  readonly tensor: Tensor;
  readonly start: number;
}

/** Copies `tokens` tokens of all heads; both tensors have as many heads of the same size. */
export async function copyHeadRows(
  tokens: number,
  options: { out: HeadRows; from: HeadRows },
): Promise<void> {
  const { out, from } = options;
  const [heads = 0] = out.tensor.shape;
  if (tokens === 0) return;
  for (let head = 0; head < heads; head++) {
    const part = { head, tokens };
    await copy(out.tensor.device, { out: rowsOfHead(out, part), in: rowsOfHead(from, part) });
  }
}

/** Overwrites `tokens` tokens of all heads with zeros, behind the ops that were started. */
export async function zeroHeadRows(tokens: number, out: HeadRows): Promise<void> {
  const [heads = 0] = out.tensor.shape;
  if (tokens === 0) return;
  // From the host's memory, so that it can be done when the device's is full.
  let zeros: Uint8Array | undefined;
  for (let head = 0; head < heads; head++) {
    const rows = rowsOfHead(out, { head, tokens });
    zeros ??= new Uint8Array(rows.byteLength);
    await rows.writeFrom(zeros);
  }
}

/** [tokens, head_dim]: the tokens of one head, side by side. */
function rowsOfHead(rows: HeadRows, part: { head: number; tokens: number }): Tensor {
  const { tensor, start } = rows;
  const [, count = 0, headDim = 0] = tensor.shape;
  return tensor.rows(part.head, 1).reshape([count, headDim]).rows(start, part.tokens);
}
