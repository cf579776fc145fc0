/**
 * Several copies of a model, each on a team of its own, behind one engine: a sample goes to the team
 * that has the fewest. For models that fit on one device of several.
 *
 * @module
 */
import { invariant, UsageError, WorkerError } from "../errors.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { Engine, GenerateCall, GenerateRequest, GenerateResult } from "../star/request.ts";
import { type EngineOptions, openEngine } from "./engine.ts";
import { listGpus } from "../device/open.ts";

/**
 * Loads copies of a model; all at the same time.
 *
 * @throws {UsageError} If ranks of a launcher are to be several teams, or GPUs are fewer than teams.
 * @throws As `openEngine()`.
 */
export async function openReplicas(
  options: EngineOptions,
  count: number,
): Promise<Engine> {
  if (count === 1) return await openEngine(options);
  if (options.group !== undefined) {
    throw new UsageError(
      `Cannot load the model as 'replicas' must be 1 where a launcher starts the processes: ` +
        `current value is ${count}`,
    );
  }
  const gpus = options.device === "cuda" ? listGpus().length : count;
  if (gpus < count) {
    throw new UsageError(
      `Cannot load the model as 'replicas' must be at most ${gpus}, the number of GPUs: ` +
        `current value is ${count}`,
    );
  }
  const opening = Array.from(
    { length: count },
    (_, index) => openEngine({ ...options, replica: { index, count } }),
  );
  const settled = await Promise.allSettled(opening);
  const engines = settled.flatMap((one) => one.status === "fulfilled" ? [one.value] : []);
  for (const one of settled) {
    if (one.status === "fulfilled") continue;
    await Promise.allSettled(engines.map((engine) => engine[Symbol.asyncDispose]()));
    throw one.reason;
  }
  return new ReplicaEngine(engines);
}

class ReplicaEngine implements Engine {
  readonly config: ModelShape;
  readonly batchSize: number;
  readonly deviceDescription: string;
  readonly #engines: readonly Engine[];
  /** Samples that each has in flight. */
  readonly #loads: number[];
  /** The context that the last request keeps, and where. */
  #kept: { readonly ids: Int32Array; readonly index: number } | undefined;

  constructor(engines: readonly Engine[]) {
    const [first] = engines;
    invariant(first !== undefined, "there is a replica");
    this.#engines = engines;
    this.#loads = engines.map(() => 0);
    this.config = first.config;
    this.batchSize = engines.reduce((sum, { batchSize }) => sum + batchSize, 0);
    this.deviceDescription = `${engines.length} replicas, each ${first.deviceDescription}`;
  }

  async generate(request: GenerateRequest, call?: GenerateCall): Promise<GenerateResult> {
    const index = this.#indexFor(request);
    const engine = this.#engines[index];
    invariant(engine !== undefined, "one of the replicas has the fewest samples");
    this.#loads[index] = (this.#loads[index] ?? 0) + 1;
    try {
      return await engine.generate(request, call);
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      const { rank, phase, message } = error;
      const where = `replica ${index} of ${this.#engines.length}`;
      throw new WorkerError(`${message} (${where})`, { rank, phase, cause: error });
    } finally {
      this.#loads[index] = (this.#loads[index] ?? 0) - 1;
    }
  }

  get lost(): Promise<Error> | undefined {
    const all = this.#engines.flatMap(({ lost }) => lost ?? []);
    return all.length === 0 ? undefined : Promise.race(all);
  }

  /** Where the request's context is kept, or the fewest samples are. */
  #indexFor({ contextIds, keepContext }: GenerateRequest): number {
    const kept = this.#kept;
    const isSame = kept !== undefined && kept.ids.length === contextIds.length &&
      contextIds.every((id, i) => id === kept.ids[i]);
    const index = isSame ? kept.index : this.#loads.indexOf(Math.min(...this.#loads));
    this.#kept = keepContext === true ? { ids: contextIds, index } : undefined;
    return index;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = this.#engines.map((engine) => engine[Symbol.asyncDispose]());
    const settled = await Promise.allSettled(closing);
    for (const one of settled) if (one.status === "rejected") throw one.reason;
  }
}
