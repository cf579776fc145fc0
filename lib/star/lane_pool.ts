/**
 * The activations of chunks that run side by side while the anchor is sent: those of the model for one,
 * and as many more as are wanted and memory is left for.
 *
 * @module
 */
import { DEVICE_TRAITS } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import { invariant, KernelError } from "../errors.ts";
import { Transformer, transformerBytes } from "../model/forward.ts";
import { layerPools } from "../model/model_shape.ts";
import type { Precision } from "../model/precision.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import { MOST_LANES, PLANNED_LANES } from "./anchor_stream.ts";

/** The share of what is left on a GPU that a lane beyond those of the plan may take. */
const LANE_SHARE = 1 / 2;

/** Lanes, the first one being the model's own. */
export class LanePool implements Disposable {
  readonly #options: {
    readonly stages: readonly Stage[];
    readonly weights: ModelWeights;
    readonly precision: Precision;
    readonly transformer: Transformer;
  };
  /** All but the first. */
  readonly #more: Transformer[] = [];

  constructor(
    options: {
      stages: readonly Stage[];
      weights: ModelWeights;
      precision: Precision;
      transformer: Transformer;
    },
  ) {
    this.#options = options;
  }

  /** A lane that is open. */
  at(index: number): Transformer {
    const lane = index === 0 ? this.#options.transformer : this.#more[index - 1];
    invariant(lane !== undefined, "a chunk runs on a lane that is open");
    return lane;
  }

  /**
   * Opens lanes: those that the plan of memory has, and more where memory is left and no layer has a
   * window, whose pages have room for the plan's chunks alone.
   *
   * @returns How many there are, at most `wanted`.
   * @throws {KernelError} If there is not enough memory for the plan's.
   */
  async open(wanted: number): Promise<number> {
    const { stages, weights, precision, transformer: { config, maxTokens } } = this.#options;
    const hasWindows = layerPools(config).some(({ window }) => window > 0);
    const most = Math.min(wanted, hasWindows ? PLANNED_LANES : MOST_LANES);
    while (this.#more.length + 1 < most) {
      const isPlanned = this.#more.length + 1 < PLANNED_LANES;
      if (!isPlanned && !this.#hasMemory()) break;
      try {
        const sizes = { config, weights, precision, maxTokens };
        this.#more.push(new Transformer(stages, sizes));
      } catch (error) {
        // What is left may lie in pieces.
        if (isPlanned || !(error instanceof KernelError)) throw error;
        break;
      }
      await this.#more.at(-1)?.prepare();
    }
    return Math.min(most, this.#more.length + 1);
  }

  #hasMemory(): boolean {
    const { stages, precision, transformer: { config, maxTokens: tokens } } = this.#options;
    return stages.every(({ device }) => {
      const bytes = transformerBytes(DEVICE_TRAITS[device.kind], { config, precision, tokens });
      return bytes <= (device.freeBytes ?? 0) * LANE_SHARE;
    });
  }

  /** Waits for what still runs there: when that has ended, it takes no time. */
  [Symbol.dispose](): void {
    for (const lane of this.#more.splice(0)) lane[Symbol.dispose]();
  }
}
