/**
 * The rank program of a model: generates for samples, or encodes contexts and keeps them to be asked
 * about; one request after the other, on all ranks at the same time.
 *
 * @module
 */
import { AbortedError, type Collective } from "../parallel/collective.ts";
import { threadsPerProcess } from "../device/open.ts";
import { invariant, RequestError, WorkerError } from "../errors.ts";
import type { ModelShape } from "../model/model_shape.ts";
import { modelDigest } from "../model/digest.ts";
import { checkRequest, type Progress } from "../star/request.ts";
import { oneAtATime, type RankCall } from "../team/one_at_a_time.ts";
import type { RankContext, RankProgram, RankService } from "../team/program.ts";
import { decodeInt32 } from "../team/protocol.ts";
import { gatherJson } from "../team/words.ts";
import { connectDevices, exchangeName } from "./exchange.ts";
import { RankModel, type RankOptions } from "./rank.ts";
import type { EncodedContext } from "../star/encode.ts";
import { gpuEnvironments } from "./rank_device.ts";
import { type EncodedFacts, fromWire, type RankResult, type StarTask } from "./wire.ts";

/** The bodies that an engine and its ranks exchange. */
export interface StarTypes {
  init: RankOptions;
  ready: {
    readonly config: ModelShape;
    readonly deviceDescription: string;
    /** What carries the ranks' parts. */
    readonly exchange: string;
  };
  request: StarTask;
  result: StarResult;
  progress: Progress;
}

/** What a rank found; which of them depends on the task. */
export interface StarResult {
  /** Of `generate`; of `answer` without `selectedBlocks` and `counters`. */
  readonly generated?: Pick<RankResult, "ids" | "topLogits"> & Partial<RankResult>;
  /** Of `encode`. */
  readonly encoded?: EncodedFacts;
}

const ENTRY = new URL("./worker.ts", import.meta.url);

/** The model on ranks. */
export const STAR_PROGRAM: RankProgram<StarTypes> = {
  name: "model",
  entry: ENTRY,
  permissions: workerPermissions(ENTRY),
  environment: (init, size) => init.device === "cuda" ? gpuEnvironments(size) : undefined,
  load: loadStarRank,
};

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

/** Loads the model on a rank. */
async function loadStarRank(
  init: RankOptions,
  context: RankContext<StarTypes>,
): Promise<RankService<StarTypes>> {
  const { collective: host, status, hangTimeoutMs: timeoutMs, localSize, carrier } = context;
  const threads = threadsPerProcess(init.threads, { processCount: localSize });
  const onProgress = () => status.advance();
  using owned = new DisposableStack();
  const model = owned.use(await RankModel.load({ ...init, threads }, { host, onProgress }));
  if (localSize < context.size) await checkSameModel(init.modelFolder, context);
  const { devices, hasOwnGpus } = model;
  const collective = owned.use(await connectDevices(devices, { host, hasOwnGpus, timeoutMs }));
  const rank = new StarRank(model, { collective, context });
  const kept = owned.move();
  const { config, deviceDescription } = model;
  return oneAtATime(context, {
    ready: { config, deviceDescription, exchange: exchangeName(collective, carrier) },
    run: (task, call) => rank.run(task, call),
    dispose() {
      rank[Symbol.dispose]();
      kept.dispose();
    },
  });
}

/** Ranks on several nodes have folders of their own; all find a fault, and rank 0 says it. */
async function checkSameModel(folder: string, context: RankContext<StarTypes>): Promise<void> {
  const digests = await gatherJson(context.collective, await modelDigest(folder));
  const rank = digests.findIndex((digest) => digest !== digests[0]);
  if (rank < 0) return;
  const text = `Cannot run together as all ranks must have the same model in ${folder}: ` +
    `${context.describe(rank)} has another one than ${context.describe(0)}`;
  const position = { rank, phase: "load" };
  throw context.rank === 0 ? new WorkerError(text, position) : new AbortedError(text, position);
}

/** A model with the contexts that it keeps. */
class StarRank implements Disposable {
  readonly #model: RankModel;
  readonly #collective: Collective;
  readonly #context: RankContext<StarTypes>;
  /** By the numbers that whoever asks has given them. */
  readonly #encoded = new Map<number, EncodedContext>();

  constructor(
    model: RankModel,
    parts: { collective: Collective; context: RankContext<StarTypes> },
  ) {
    this.#model = model;
    this.#collective = parts.collective;
    this.#context = parts.context;
  }

  async run(task: StarTask, call: RankCall<StarTypes>): Promise<StarResult> {
    switch (task.kind) {
      case "generate": {
        const { status } = this.#context;
        const onProgress = (progress: Progress) => call.progress(progress);
        const place = { collective: this.#collective, status, onProgress, hooks: call };
        return { generated: await this.#model.run(fromWire(task.request), place) };
      }
      case "encode":
        return { encoded: await this.#encode(task, call) };
      case "answer":
        return { generated: await this.#answer(task, call) };
      case "free":
        this.#encoded.get(task.context)?.[Symbol.dispose]();
        this.#encoded.delete(task.context);
        return {};
    }
  }

  async #encode(
    task: Extract<StarTask, { kind: "encode" }>,
    call: RankCall<StarTypes>,
  ): Promise<EncodedFacts> {
    invariant(!this.#encoded.has(task.context), "a context has a number of its own");
    const { status } = this.#context;
    status.enter("phase 1");
    const encoded = await this.#model.encode(decodeInt32(task.ids), {
      collective: this.#collective,
      room: task.room,
      onProgress: () => status.advance(),
      hooks: call,
    });
    this.#encoded.set(task.context, encoded);
    const { sequence: { layout }, phase1: { anchorPasses, selected } } = encoded;
    return { layout, anchorPasses, selected };
  }

  async #answer(
    task: Extract<StarTask, { kind: "answer" }>,
    call: RankCall<StarTypes>,
  ): Promise<Pick<RankResult, "ids" | "topLogits">> {
    const encoded = this.#encoded.get(task.context);
    if (encoded === undefined) {
      throw new RequestError("Cannot answer as the context is not encoded");
    }
    const { status } = this.#context;
    const request = fromWire(task.request);
    checkRequest(request);
    status.enter("phase 2");
    return await this.#model.answer(encoded, {
      request,
      collective: this.#collective,
      onLayer: () => status.advance(),
      onToken: () => status.advance(),
      hooks: call,
    });
  }

  [Symbol.dispose](): void {
    for (const encoded of this.#encoded.values()) encoded[Symbol.dispose]();
    this.#encoded.clear();
  }
}
