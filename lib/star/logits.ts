/**
 * The largest logits of a position.
 *
 * @module
 */
import { Tensor } from "../device/tensor.ts";
import { topK } from "../ops/sample.ts";

/** From here on a GPU, which looks for the largest one after the other, is slower than a sort. */
const DEVICE_TOP_K = 512;

/** In the order of `topK()`: equal ones by index, NaN last. */
function sortedLogits(logits: Float32Array): [number, number][] {
  const keys = logits.map((value) => Number.isNaN(value) ? -Infinity : value);
  const order = Uint32Array.from(keys, (_, id) => id);
  order.sort((a, b) => (keys[b] ?? 0) - (keys[a] ?? 0) || a - b);
  return Array.from(order, (id) => [id, logits[id] ?? NaN]);
}

/** `[id, logit]` of the largest of one row of logits, largest first. */
export async function largestLogits(logits: Tensor, count: number): Promise<[number, number][]> {
  const { device, size } = logits;
  if (count === 0) return [];
  if (!device.hasHostMemory && count > DEVICE_TOP_K) {
    return sortedLogits(await logits.toFloats()).slice(0, count);
  }
  const shape = [Math.min(count, size)];
  using ids = Tensor.allocate(device, { dtype: "i32", shape, label: "largest logits' ids" });
  using values = Tensor.allocate(device, { dtype: "f32", shape, label: "largest logits" });
  await topK(device, { ids, values, logits: logits.reshape([size]) });
  const found = await values.toFloats();
  return [...await ids.toInts()].map((id, i) => [id, found[i] ?? NaN]);
}
