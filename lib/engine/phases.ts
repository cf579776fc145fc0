/**
 * The two phases of Star Attention by hand (arXiv 2411.17116, section 2), in one process: encode a
 * context once, look at it, and ask as many queries about it as one likes.
 *
 * `loadModel()` is the way for texts and for several processes; this one takes and returns ids.
 *
 * @module
 */
import type { PlanOptions } from "../attention/plan.ts";
import { SelfCollective } from "../parallel/self.ts";
import { chooseDevice, type DeviceWish, threadsPerProcess } from "../device/open.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { type ComputeDType, type Precision, widest } from "../model/precision.ts";
import type { BlockLayout } from "../star/blocks.ts";
import { checkPhasesOptions } from "./options.ts";
import { type EncodedContext, RankModel } from "./rank.ts";
import type { GenerateRequest } from "../star/request.ts";

/** How to open a model for the two phases. */
export interface PhasesOptions extends PlanOptions {
  /** What numbers are rounded to, as a whole or part by part. @default {"bf16"} */
  readonly precision?: ComputeDType | Precision | undefined;
  /** Threads of an op on the CPU; 0 takes all cores. @default {0} */
  readonly threads?: number | undefined;
  /** `auto` takes a usable GPU, or else the CPU. @default {"auto"} */
  readonly device?: DeviceWish | undefined;
  /** GPUs that the layers are spread over; by default the fewest that the weights fit on. */
  readonly gpusPerRank?: number | undefined;
}

/** A context after phase 1. Disposal frees its keys and values. */
export interface Encoded extends Disposable {
  readonly layout: BlockLayout;
  /** Times that the anchor block was encoded on its own. */
  readonly anchorPasses: number;
  /** Per context block and layer, `taken` of `causal` 128 x 128 blocks; empty in dense modes. */
  readonly selected: readonly (readonly { readonly taken: number; readonly causal: number }[])[];
}

/** What one query gave. */
export interface Answer {
  /** Generated ids, a stop id included if one ended the generation. */
  readonly ids: readonly number[];
  /** `[id, logit]` of the first generated position, largest first. */
  readonly topLogits: readonly (readonly [number, number])[];
}

/** A model whose phases are called one by one. */
export interface Phases extends Disposable {
  readonly config: ModelShape;
  /**
   * Phase 1: encodes all blocks of a context.
   *
   * @param contextIds Token ids, tokenized without added special tokens.
   * @param options `room`: tokens of query and answer that the cache must take.
   * @throws {KernelError} If there is not enough memory.
   */
  encode(contextIds: Int32Array, options: { room: number }): Promise<Encoded>;
  /**
   * Phase 2: encodes a query and generates greedily; the context can be asked again.
   *
   * @throws {TypeError} If `encoded` is from another model or disposed of.
   * @throws {RequestError} If the query is empty or exceeds the room.
   */
  answer(
    encoded: Encoded,
    query: Pick<GenerateRequest, "queryIds" | "tokensToGenerate" | "stopIds" | "topLogits">,
  ): Promise<Answer>;
}

/**
 * Opens a model folder in Hugging Face's format.
 *
 * @param options All have defaults.
 * @throws {UsageError} If an option is unknown or out of its range.
 * @throws {FileError} If a file is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 */
export async function openPhases(folder: string, options: PhasesOptions = {}): Promise<Phases> {
  const checked = checkPhasesOptions(folder, options);
  const { kind: device } = await chooseDevice(checked.device, { dtype: widest(checked.precision) });
  const threads = threadsPerProcess(checked.threads, { processCount: 1 });
  return new LocalPhases(
    await RankModel.load({ ...checked, modelFolder: folder, device, threads }),
  );
}

class LocalPhases implements Phases {
  readonly #model: RankModel;
  readonly #collective = new SelfCollective();
  readonly #encoded = new Map<Encoded, EncodedContext>();

  constructor(model: RankModel) {
    this.#model = model;
  }

  get config(): ModelShape {
    return this.#model.config;
  }

  async encode(contextIds: Int32Array, options: { room: number }): Promise<Encoded> {
    const { room } = options;
    const context = await this.#model.encode(contextIds, {
      collective: this.#collective,
      room,
      onProgress: () => {},
    });
    const { layout, phase1 } = context;
    const encoded: Encoded = {
      layout,
      anchorPasses: phase1.anchorPasses,
      selected: phase1.selected,
      [Symbol.dispose]: () => {
        this.#encoded.delete(encoded);
        context[Symbol.dispose]();
      },
    };
    this.#encoded.set(encoded, context);
    return encoded;
  }

  async answer(
    encoded: Encoded,
    query: Pick<GenerateRequest, "queryIds" | "tokensToGenerate" | "stopIds" | "topLogits">,
  ): Promise<Answer> {
    const context = this.#encoded.get(encoded);
    if (context === undefined) {
      throw new TypeError(
        "Cannot answer as 'encoded' must be a context of this model that is not disposed",
      );
    }
    return await this.#model.answer(context, {
      request: { ...query, sample: "query" },
      collective: this.#collective,
      onLayer: () => {},
      onToken: () => {},
    });
  }

  [Symbol.dispose](): void {
    for (const encoded of [...this.#encoded.keys()]) encoded[Symbol.dispose]();
    this.#collective.close();
    this.#model[Symbol.dispose]();
  }
}
