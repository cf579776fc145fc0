/**
 * A model that is loaded when it is first needed, and put away when the command ends or is
 * interrupted.
 *
 * @module
 */
import { sharesContext } from "../lib/attention/plan.ts";
import type { loadModel, LoadOptions, Model } from "../lib/star/load_model.ts";
import type { Screen } from "./screen.ts";

/** Loads a model; tests pass another one. */
export type LoadModel = typeof loadModel;

/** Something to end before the process is. */
export interface Cleanup {
  /** Calls `end` when the user interrupts the program; `[Symbol.dispose]` takes it back. */
  onInterrupt(end: () => Promise<void>): Disposable;
}

/** What {@linkcode ModelSession} needs. */
export interface SessionOptions {
  readonly folder: string;
  readonly load: Omit<LoadOptions, "processCount" | "onWarning">;
  readonly screen: Screen;
  readonly cleanup: Cleanup;
  readonly loadModel: LoadModel;
}

/** Loads the model at most once for each number of processes. */
export class ModelSession implements AsyncDisposable {
  readonly #options: SessionOptions;
  #model: Model | undefined;
  #guard: Disposable | undefined;
  #processCount = 0;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /**
   * The model, on a number of processes.
   *
   * @throws As {@linkcode loadModel}.
   */
  async open(options: { processCount: number }): Promise<Model> {
    const { processCount } = options;
    if (this.#model !== undefined && this.#processCount === processCount) return this.#model;
    await this[Symbol.asyncDispose]();
    const { folder, load, screen, cleanup } = this.#options;
    const model = await this.#options.loadModel(folder, {
      ...load,
      processCount,
      onWarning: (line) => screen.log(line),
    });
    this.#model = model;
    this.#processCount = processCount;
    // A model in this process may be in the middle of a C call: its memory goes with the process.
    if (model.processCount > 1) {
      this.#guard = cleanup.onInterrupt(() => this[Symbol.asyncDispose]());
    }
    screen.log(`Model: ${folder}, ${model.deviceDescription}`);
    return model;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    this.#guard?.[Symbol.dispose]();
    await model?.[Symbol.asyncDispose]();
  }
}

/**
 * The number of processes for a plan: dense and xattn use one, which is said.
 *
 * @param mode The attention mode.
 * @param processCount What `-np` asks for.
 */
export function usableProcesses(
  mode: LoadOptions["plan"]["mode"],
  processCount: number,
  options: { screen: Screen },
): number {
  if (sharesContext(mode) || processCount === 1) return processCount;
  options.screen.log(`--nproc_per_node: ${mode} uses one process, not ${processCount}`);
  return 1;
}
