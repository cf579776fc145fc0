/**
 * Copies some tokens of each head from one cache to another, on the device.
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
    const rowsOf = ({ tensor, start }: HeadRows) => {
      const [, rows = 0, headDim = 0] = tensor.shape;
      return tensor.rows(head, 1).reshape([rows, headDim]).rows(start, tokens);
    };
    await copy(out.tensor.device, { out: rowsOf(out), in: rowsOf(from) });
  }
}
