/**
 * The exchange of the ranks' partial attentions: one packed all-gather a layer.
 *
 * @module
 */
import type { Device } from "../device/device.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import type { Collective, DeviceExchange } from "../parallel/collective.ts";
import { exchangeOn, gatherTensors } from "../parallel/device_exchange.ts";

/** What the exchange of some layers has on their device. */
export interface StageParts {
  readonly device: Device;
  /** The exchange of that device's memory. */
  readonly exchange: DeviceExchange;
  /** This rank's part: [elements] f32. */
  readonly part: Tensor;
  /** The parts of all ranks: [ranks * elements] f32. */
  readonly parts: Tensor;
}

/** Buffers for parts of a given size. */
export class PartBuffers implements Disposable {
  readonly #owned: DisposableStack;
  readonly #stages: PerStage<StageParts>;

  /** @param options `elements`: the most numbers of a part. */
  constructor(stages: readonly Stage[], options: { collective: Collective; elements: number }) {
    const { elements } = options;
    using owned = new DisposableStack();
    this.#stages = new PerStage(stages, ({ device }) => {
      const exchange = exchangeOn(options.collective, device);
      const make = (label: string, length: number) =>
        owned.use(Tensor.allocate(device, { dtype: "f32", shape: [length], label }));
      return {
        device,
        exchange,
        part: make("own part", elements),
        parts: make("parts of all ranks", exchange.size * elements),
      };
    });
    this.#owned = owned.move();
  }

  /** The first numbers of this rank's part, to be filled. */
  part(layer: number, elements: number): Tensor {
    return this.#stages.of(layer).part.rows(0, elements);
  }

  /**
   * Exchanges the parts of a layer.
   *
   * @returns [ranks, elements], in rank order.
   * @throws {WorkerError} If a rank is lost.
   */
  async gather(layer: number, elements: number): Promise<Tensor> {
    const { exchange, parts } = this.#stages.of(layer);
    const out = parts.rows(0, exchange.size * elements);
    await gatherTensors(exchange, { part: this.part(layer, elements), out });
    return out.reshape([exchange.size, elements]);
  }

  /** Frees the buffers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** The places of one part: attention output, log-sum-exps, scores, as `mergeStates()` reads them. */
export function splitPart(
  part: Tensor,
  sizes: { tokens: number; heads: number; headDim: number },
): { out: Tensor; lse: Tensor; score: Tensor } {
  const { tokens, heads, headDim } = sizes;
  const rows = tokens * heads;
  return {
    out: part.rows(0, rows * headDim).reshape([tokens, heads, headDim]),
    lse: part.rows(rows * headDim, rows).reshape([tokens, heads]),
    score: part.rows(rows * (headDim + 1), heads),
  };
}
