/**
 * The forward pass over one chunk of tokens: the layers of one device after those of another
 * (`lib/model/layer_stage.ts`), with the residual stream handed on between them.
 *
 * @module
 */
import type { Stage } from "../device/stages.ts";
import type { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { type Chunk, LayerStage, type TransformerOptions } from "./layer_stage.ts";
import type { ModelShape } from "./model_shape.ts";

export { transformerBytes } from "./layer_buffers.ts";
export { type Chunk, type ChunkTarget, consecutive } from "./layer_stage.ts";

/** A model that is ready to run, with the scratch memory that it needs. */
export class Transformer implements Disposable {
  readonly config: ModelShape;
  /** The longest chunk. */
  readonly maxTokens: number;
  readonly #owned: DisposableStack;
  readonly #stages: readonly LayerStage[];

  /**
   * @param stages All layers, in order.
   * @throws {KernelError} If there is not enough memory.
   */
  constructor(stages: readonly Stage[], options: TransformerOptions) {
    this.config = options.config;
    this.maxTokens = options.maxTokens;
    using owned = new DisposableStack();
    this.#stages = stages.map((stage) => owned.use(new LayerStage(stage, options)));
    this.#owned = owned.move();
  }

  /** On how many devices the layers lie. */
  get stageCount(): number {
    return this.#stages.length;
  }

  /** Fills what does not change between chunks; call it once before the first. */
  async prepare(): Promise<void> {
    for (const stage of this.#stages) await stage.prepare();
  }

  /**
   * Runs a chunk through all layers.
   *
   * @throws {RangeError} If the chunk is empty or too long.
   */
  async forward(chunk: Chunk): Promise<void> {
    await this.writeInputs(chunk);
    for (let stage = 0; stage < this.stageCount; stage++) {
      this.enterStage(stage, chunk);
      await this.runStage(stage, chunk);
    }
  }

  /**
   * The first part of `forward()`: brings ids, positions and cache rows to the devices.
   *
   * @throws {RangeError} If the chunk is empty or too long.
   */
  async writeInputs(chunk: Chunk): Promise<void> {
    await this.tokenIds(chunk.ids.length).writeFrom(chunk.ids);
    await this.writePlaces(chunk);
  }

  /** As `writeInputs()`, for ids that are on the device already: see `tokenIds()`. */
  async writePlaces(chunk: Chunk): Promise<void> {
    this.#checkTokens(chunk.ids.length);
    for (const stage of this.#stages) await stage.writePlaces(chunk);
  }

  /** Where the first stage finds the ids of a chunk, so that an op can choose them: [tokens] i32. */
  tokenIds(tokens: number): Tensor {
    this.#checkTokens(tokens);
    return this.#stage(0).tokenIds(tokens);
  }

  /** Before `runStage()`: hands on what the stage before has left; nothing before the first one. */
  enterStage(index: number, chunk: Chunk): void {
    if (index === 0) return;
    this.#stage(index).continueFrom(this.#stage(index - 1), chunk.ids.length);
  }

  /** The layers of one stage: nothing but ops of one device, which it may record. */
  async runStage(index: number, chunk: Chunk): Promise<void> {
    await this.#stage(index).run(chunk);
  }

  /**
   * The logits after some consecutive tokens of the last chunk, at most `logitRows`.
   *
   * @param rows Which tokens of the chunk.
   * @returns [count, vocabulary] f32 on the last device; overwritten by the next call.
   */
  async logits(rows: { first: number; count: number }): Promise<Tensor> {
    return await this.#stage(this.stageCount - 1).logits(rows);
  }

  #stage(index: number): LayerStage {
    const stage = this.#stages[index];
    invariant(stage !== undefined, "a transformer has the stage that is asked for");
    return stage;
  }

  #checkTokens(tokens: number): void {
    if (tokens >= 1 && tokens <= this.maxTokens) return;
    throw new RangeError(
      `Cannot run a chunk as it must have 1 to ${this.maxTokens} tokens: current value is ${tokens}`,
    );
  }

  /** Frees the scratch memory; the weights belong to the caller. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
