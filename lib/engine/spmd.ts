/**
 * Samples on the processes that a launcher started: rank 0 runs the command and tells the others
 * what to load and to compute; all compute the same sample at the same time.
 *
 * Rank 0 sends, each by one broadcast: load (all answer with their model's digest), requests (all
 * answer with their result), unload, end.
 *
 * @module
 */
import { AbortedError, type Collective } from "../parallel/collective.ts";
import { BorrowedCollective } from "../parallel/borrowed.ts";
import { threadsPerProcess } from "../device/open.ts";
import { errorText, invariant, WorkerError } from "../errors.ts";
import { modelDigest } from "../model/digest.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { exchangeName } from "./exchange.ts";
import { otherModelError, type RankGroup } from "../team/group.ts";
import { RankModel, type RankOptions, type RankProgress } from "./rank.ts";
import type { Engine, GenerateRequest, GenerateResult, Progress } from "../star/request.ts";
import { fromWire, joinResults, type RankResult, toWire, type WireRequest } from "./wire.ts";

/** What rank 0 says. */
type LeaderMessage =
  | { readonly kind: "load"; readonly options: SharedOptions }
  | { readonly kind: "request"; readonly body: WireRequest }
  | { readonly kind: "unload" }
  | { readonly kind: "end" };

/** What all ranks load. */
export interface SharedOptions extends RankOptions {
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
}

/** The engine of rank 0. */
export class SpmdEngine implements Engine {
  readonly #group: RankGroup;
  readonly #loaded: LoadedRank;
  #busy = false;

  private constructor(group: RankGroup, loaded: LoadedRank) {
    this.#group = group;
    this.#loaded = loaded;
  }

  /**
   * Loads the model on all ranks.
   *
   * @param options `threads`: of each rank; 0 divides the cores of its machine among its ranks.
   * @throws As `RankModel.load()`; {WorkerError} if a rank is lost or has another model.
   */
  static async open(group: RankGroup, options: SharedOptions): Promise<SpmdEngine> {
    await tell(group, { kind: "load", options });
    return new SpmdEngine(group, await loadTogether(group, options));
  }

  get config(): ModelShape {
    return this.#loaded.model.config;
  }

  get deviceDescription(): string {
    return `${this.#loaded.model.deviceDescription}, ${this.#group.size} processes, ` +
      exchangeName(this.#loaded.collective, this.#group.collective.version);
  }

  async generate(
    request: GenerateRequest,
    options: { onProgress?: ((progress: Progress) => void) | undefined } = {},
  ): Promise<GenerateResult> {
    this.#busy = true;
    try {
      await tell(this.#group, { kind: "request", body: toWire(request) });
      const onProgress = options.onProgress ?? (() => {});
      return joinResults(await runTogether(this.#group, this.#loaded, { request, onProgress }));
    } catch (error) {
      throw nameSample(error, request.sample);
    } finally {
      this.#busy = false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // In the midst of a request there is nobody who listens.
    if (this.#busy) this.#group.collective.abort("the run was interrupted");
    else await tell(this.#group, { kind: "unload" }).catch(ignoreLoss);
    this.#loaded[Symbol.dispose]();
  }
}

/** A model, and the exchange for its device. */
interface LoadedRank extends Disposable {
  readonly model: RankModel;
  readonly collective: Collective;
}

/** Lets the other ranks end, when rank 0's command has ended well. */
export async function endFollowers(group: RankGroup): Promise<void> {
  await tell(group, { kind: "end" });
  await group.leave();
}

/**
 * What every rank but 0 does: serves until rank 0's command has ended.
 *
 * @throws What loading or a sample throws here.
 * @throws {WorkerError} If another rank is lost; an `AbortedError` if somebody else has said so.
 */
export async function followLeader(group: RankGroup): Promise<void> {
  let loaded: LoadedRank | undefined;
  try {
    for (;;) {
      group.status.enter("idle");
      const message = await group.broadcast() as LeaderMessage;
      if (message.kind === "end") return await group.leave();
      if (message.kind === "load") {
        loaded = await loadTogether(group, message.options);
      } else if (message.kind === "request") {
        invariant(loaded !== undefined, "rank 0 loads before it asks");
        const request = fromWire(message.body);
        await runTogether(group, loaded, { request, onProgress: () => {} });
      } else {
        loaded?.[Symbol.dispose]();
        loaded = undefined;
      }
    }
  } finally {
    loaded?.[Symbol.dispose]();
  }
}

async function tell(group: RankGroup, message: LeaderMessage): Promise<void> {
  group.status.enter("idle");
  await group.broadcast(message);
}

async function loadTogether(group: RankGroup, options: SharedOptions): Promise<LoadedRank> {
  group.status.enter("load");
  const { modelFolder: folder, timeoutMs } = options;
  group.collective.timeoutMs = timeoutMs;
  const threads = threadsPerProcess(options.threads, { processCount: group.localSize });
  const host = new BorrowedCollective(group.collective);
  const place = { host, onProgress: () => group.status.advance() };
  const model = await RankModel.load({ ...options, threads }, place);
  try {
    const digests = await group.gather(await modelDigest(folder));
    const rank = digests.findIndex((digest) => digest !== digests[0]);
    if (rank >= 0) throw otherModelError(group, { rank, folder });
    const collective = await model.connect(host, { timeoutMs });
    group.status.enter("idle");
    return {
      model,
      collective,
      [Symbol.dispose]() {
        collective.close();
        model[Symbol.dispose]();
      },
    };
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

async function runTogether(
  group: RankGroup,
  loaded: LoadedRank,
  options: { request: GenerateRequest; onProgress: RankProgress },
): Promise<RankResult[]> {
  const { status } = group;
  const { model, collective } = loaded;
  const { request, onProgress } = options;
  const own = await model.run(request, { collective, status, onProgress });
  status.enter("idle");
  return await group.gather(own) as RankResult[];
}

function nameSample(error: unknown, sample: string): unknown {
  if (!(error instanceof WorkerError) || error instanceof AbortedError) return error;
  const { rank, phase, message } = error;
  return new WorkerError(`${message} (sample ${sample})`, { rank, phase, cause: error });
}

/** When a rank is lost, the command fails by that already. */
function ignoreLoss(error: unknown): void {
  if (!(error instanceof WorkerError || error instanceof TypeError)) {
    throw new TypeError(`Cannot tell the other ranks: ${errorText(error)}`);
  }
}
