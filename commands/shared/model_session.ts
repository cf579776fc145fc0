/**
 * A model that is loaded when it is first needed, and put away when the command ends or is
 * interrupted.
 *
 * @module
 */
import { type CheckedPlan, modeOf, usedRanks } from "../../lib/attention/plan.ts";
import { invariant } from "../../lib/errors.ts";
import type { loadModel, Model } from "../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../lib/engine/model_options.ts";
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
  /** Called before the model is loaded. */
  readonly announce?: () => void;
}

/** A model that is loaded or being loaded. */
interface Loading {
  readonly processCount: number;
  readonly model: Promise<Model>;
  /** How long it took. */
  readonly seconds: Promise<number>;
  /** Whether it was handed out, and the user told. */
  isOpen: boolean;
}

/** Loads the model at most once for each number of processes. */
export class ModelSession implements AsyncDisposable {
  readonly #options: SessionOptions;
  #loading: Loading | undefined;
  #guard: Disposable | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  /**
   * Begins to load the model while there is other work; does nothing if one is loaded already.
   *
   * What goes wrong is told by `open()`.
   */
  prepare(options: { processCount: number }): void {
    if (this.#loading !== undefined) return;
    const { folder, load, screen, announce } = this.#options;
    const { processCount } = options;
    announce?.();
    const startMs = performance.now();
    const model = this.#options.loadModel(folder, {
      ...load,
      processCount,
      onWarning: (line) => screen.log(line),
    });
    const seconds = model.then(() => (performance.now() - startMs) / 1000);
    // Until it is opened nobody waits for it.
    seconds.catch(() => {});
    this.#loading = { processCount, model, seconds, isOpen: false };
  }

  /**
   * The model, on a number of processes.
   *
   * @throws As {@linkcode loadModel}.
   */
  async open(options: { processCount: number }): Promise<Model> {
    if (this.#loading?.processCount !== options.processCount) await this[Symbol.asyncDispose]();
    this.prepare(options);
    const loading = this.#loading;
    invariant(loading !== undefined, "a model is being loaded");
    const model = await loading.model;
    if (loading.isOpen) return model;
    loading.isOpen = true;
    const { folder, screen, cleanup } = this.#options;
    // A model in this process may be in the middle of a C call: its memory goes with the process.
    if (model.processCount > 1) {
      this.#guard = cleanup.onInterrupt(() => this[Symbol.asyncDispose]());
    }
    const seconds = (await loading.seconds).toFixed(2);
    screen.log(`Model: ${folder}, ${model.deviceDescription}, loaded in ${seconds} s`);
    return model;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const loading = this.#loading;
    this.#loading = undefined;
    this.#guard?.[Symbol.dispose]();
    // A model that was not loaded leaves nothing behind.
    const model = await loading?.model.catch(() => undefined);
    await model?.[Symbol.asyncDispose]();
  }
}

/**
 * The number of processes for a plan: dense and xattn use one, which is said.
 *
 * @param processCount What `-np` asks for.
 */
export function usableProcesses(
  plan: CheckedPlan,
  processCount: number,
  options: { screen: Screen },
): number {
  const used = usedRanks(plan, { ranks: processCount });
  if (used < processCount) {
    options.screen.log(`--nproc_per_node: ${modeOf(plan)} uses one process, not ${processCount}`);
  }
  return used;
}
