/**
 * Runs samples on one process or on a pool of worker processes, behind one interface.
 *
 * @module
 */
import { sharesContext } from "../attention/plan.ts";
import { SelfCollective } from "../parallel/self.ts";
import { RankStatus } from "../parallel/state.ts";
import { WorkerError } from "../errors.ts";
import type { ModelShape } from "../model/model_shape.ts";
import type { RankGroup } from "../team/group.ts";
import { WorkerPool } from "../team/pool.ts";
import { RankModel, type RankOptions, type RankProgress } from "./rank.ts";
import { gpuEnvironments } from "./rank_device.ts";
import type { Engine, GenerateRequest, GenerateResult, Progress } from "../star/request.ts";
import { SpmdEngine } from "./spmd.ts";
import { joinResults, type RankResult, toWire, type WireRequest } from "./wire.ts";

/** What an engine is started with. */
export interface EngineOptions extends RankOptions {
  /** How many processes share the work; 1 runs in this one. */
  readonly processCount: number;
  /** How long a rank may make no progress, in milliseconds. */
  readonly timeoutMs: number;
  /** The processes that a launcher started with this one; they take the place of children. */
  readonly group?: RankGroup | undefined;
}

/** The bodies that this engine and its workers exchange. */
export interface StarTypes {
  init: RankOptions;
  ready: {
    readonly config: ModelShape;
    readonly deviceDescription: string;
    /** What carries the ranks' parts. */
    readonly exchange: string;
  };
  request: WireRequest;
  result: RankResult;
  progress: Progress;
}

/**
 * The permissions of a worker: files it maps, its place in the processes' shared memory; one started
 * from a URL fetches the kernel library and keeps it in the user's cache.
 *
 * @param entry The worker's module.
 */
export function workerPermissions(entry: URL): readonly string[] {
  const local = ["--allow-read", "--allow-env", "--allow-sys"];
  if (entry.protocol === "file:") return local;
  const { host } = entry;
  return [...local, "--allow-write", `--allow-net=${host}`, `--allow-import=${host}`];
}

/**
 * Loads the model.
 *
 * @throws {FileError} If the model is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export function openEngine(options: EngineOptions): Promise<Engine> {
  const { group, plan, processCount, timeoutMs } = options;
  if (group !== undefined && sharesContext(plan)) {
    return SpmdEngine.open(group, { ...rankOptions(options), timeoutMs });
  }
  return processCount === 1 ? LocalEngine.open(options) : PoolEngine.open(options);
}

/** What is told to each rank: plain data. */
function rankOptions(options: EngineOptions): RankOptions {
  const { modelFolder, plan, device, precision, threads, gpusPerRank } = options;
  const { expectedTokens, copyWeights } = options;
  return {
    ...{ modelFolder, plan, device, precision, threads, gpusPerRank },
    ...{ expectedTokens, copyWeights },
  };
}

/** One rank, in this process. */
class LocalEngine implements Engine {
  readonly #model: RankModel;
  readonly #collective = new SelfCollective();
  readonly #status = new RankStatus();

  private constructor(model: RankModel) {
    this.#model = model;
  }

  static async open(options: EngineOptions): Promise<Engine> {
    return new LocalEngine(await RankModel.load(rankOptions(options)));
  }

  get config(): ModelShape {
    return this.#model.config;
  }

  get deviceDescription(): string {
    return this.#model.deviceDescription;
  }

  async generate(
    request: GenerateRequest,
    options: { onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<GenerateResult> {
    const onProgress: RankProgress = options.onProgress ?? (() => {});
    const result = await this.#model.run(request, {
      collective: this.#collective,
      status: this.#status,
      onProgress,
    });
    return joinResults([result]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#collective.close();
    this.#model[Symbol.dispose]();
    return Promise.resolve();
  }
}

/** Several ranks, each a child process. */
class PoolEngine implements Engine {
  readonly config: ModelShape;
  readonly deviceDescription: string;
  readonly #pool: WorkerPool<StarTypes>;

  private constructor(pool: WorkerPool<StarTypes>, ready: StarTypes["ready"]) {
    this.#pool = pool;
    this.config = ready.config;
    this.deviceDescription =
      `${ready.deviceDescription}, ${pool.size} processes, ${ready.exchange}`;
  }

  static async open(options: EngineOptions): Promise<Engine> {
    const { processCount: size, timeoutMs } = options;
    const entry = new URL("./worker.ts", import.meta.url);
    const pool = await WorkerPool.start<StarTypes>(rankOptions(options), {
      entry,
      size,
      permissions: workerPermissions(entry),
      env: options.device === "cuda" ? gpuEnvironments(size) : undefined,
      timeoutMs,
    });
    const [ready] = pool.ready;
    if (ready === undefined) {
      throw new WorkerError("Cannot start workers as none answered", { rank: 0, phase: "load" });
    }
    return new PoolEngine(pool, ready);
  }

  async generate(
    request: GenerateRequest,
    options: { onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<GenerateResult> {
    const slowest = new SlowestRank(this.#pool.size);
    try {
      const results = await this.#pool.run(toWire(request), {
        onProgress: (progress, rank) => options.onProgress?.(slowest.update(progress, rank)),
      });
      return joinResults(results);
    } catch (error) {
      if (!(error instanceof WorkerError)) throw error;
      const { rank, phase, message } = error;
      throw new WorkerError(`${message} (sample ${request.sample})`, { rank, phase, cause: error });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pool.close();
  }
}

/** The progress of a pool is that of its slowest rank. */
class SlowestRank {
  readonly #latest: Progress[];

  constructor(size: number) {
    const start: Progress = { phase: "phase 1", fraction: 0, generatedTokens: 0 };
    this.#latest = Array.from({ length: size }, () => start);
  }

  update(progress: Progress, rank: number): Progress {
    this.#latest[rank] = progress;
    const order = (p: Progress) => (p.phase === "phase 1" ? 0 : 1) + p.fraction;
    return this.#latest.reduce((a, b) => order(b) < order(a) ? b : a);
  }
}
