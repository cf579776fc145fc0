/**
 * The runs of a bench on one rank; one process alone is the case of one rank.
 *
 * @module
 */
import type { CheckedPlan } from "../../lib/attention/plan.ts";
import type { Collective } from "../../lib/parallel/collective.ts";
import type { RankStatus } from "../../lib/parallel/state.ts";
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import type { DeviceKind } from "../../lib/device/open.ts";
import { ProfiledDevice } from "../../lib/device/profiled.ts";
import { type Stage, stagesOn } from "../../lib/device/stages.ts";
import type { RowsSetName } from "../../lib/ffi/status.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { readModel } from "../../lib/model/read_model.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import type { ModelWeights } from "../../lib/model/weight_tensors.ts";
import { loadWeights } from "../../lib/model/weights.ts";
import { connectDevices, exchangeName } from "../../lib/engine/exchange.ts";
import { checkMemory, fitsOn } from "../../lib/engine/memory_check.ts";
import { chunkTokensFor } from "../../lib/engine/memory_plan.ts";
import { RankModel, type RankPlace } from "../../lib/engine/rank.ts";
import { invariant } from "../../lib/errors.ts";
import { decodeInt32 } from "../../lib/team/protocol.ts";
import { openRankDevices } from "../../lib/engine/rank_device.ts";
import { copyRate, peakMemoryMib, weightReadRate } from "./machine.ts";
import { type BenchOptions, precisionOf } from "./options.ts";
import { ModeBench } from "./mode_bench.ts";
import type { DecodeTiming, PrefillTiming } from "./timings.ts";

/** What every rank is told: plain data. */
export interface RankBenchOptions {
  readonly options: BenchOptions;
  readonly plans: readonly CheckedPlan[];
  readonly device: DeviceKind;
  readonly threads: number;
  readonly rowsSet: RowsSetName;
  /** The tokens of a text, base64 of 32-bit integers; undefined for random ones. */
  readonly textIds: string | undefined;
}

/** A rank among the others. */
export interface BenchPlace extends RankPlace {
  /** What the host's exchange is, for people. */
  readonly hostName: string;
  readonly status: RankStatus;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
}

/** What a rank is asked, in this order: a mode is opened, timed, and closed. */
export type BenchRequest =
  /** Makes a mode's model, and runs it once without timing it. */
  | { readonly kind: "open"; readonly plan: CheckedPlan }
  | { readonly kind: "prefill"; readonly tokens: number }
  | { readonly kind: "decode"; readonly context: number }
  /** `withRates`: rank 0 times reading and a large copy, too, when the mode's memory is free again. */
  | { readonly kind: "close"; readonly withRates: boolean };

/** What a rank is. */
export interface BenchFacts {
  readonly device: string;
  readonly threads: number;
  readonly exchange: string;
}

/** What a rank found: what was asked for is there. */
export interface RankTimes {
  readonly prefill?: PrefillTiming;
  readonly decode?: DecodeTiming;
  readonly memory?: RankMemory;
}

/** What a mode took on a rank, when it is closed. */
export interface RankMemory {
  /** Peak of the process, in MiB. */
  readonly rssMib: number;
  /** Peak of what was allocated on a device, in MiB. */
  readonly deviceMib: number;
  /** Of a large copy, read and written bytes; undefined where it was not asked for. */
  readonly copyGbPerS?: number | undefined;
  /** Of a loop that reads the weights and does nothing else; undefined as above. */
  readonly readGbPerS?: number | undefined;
}

/** What all modes share. */
interface BenchParts {
  readonly config: ModelShape;
  readonly devices: readonly ProfiledDevice[];
  readonly stages: readonly Stage[];
  readonly weights: ModelWeights;
  readonly chunkTokens: number;
}

/** One rank with its weights. */
export class RankBench implements Disposable {
  readonly facts: BenchFacts;
  readonly #init: RankBenchOptions;
  readonly #parts: BenchParts;
  readonly #collective: Collective;
  readonly #status: RankStatus;
  readonly #owned: DisposableStack;
  #mode: { readonly model: RankModel; readonly bench: ModeBench } | undefined;

  private constructor(
    init: RankBenchOptions,
    made: {
      parts: BenchParts;
      collective: Collective;
      place: BenchPlace;
      owned: DisposableStack;
    },
  ) {
    const { parts, collective, place, owned } = made;
    const { devices } = parts;
    const device = devices.map(({ description }) => description).join(" and ");
    const threads = devices[0]?.threads ?? 1;
    this.facts = { device, threads, exchange: exchangeName(collective, place.hostName) };
    this.#init = init;
    this.#parts = parts;
    this.#collective = collective;
    this.#status = place.status;
    this.#owned = owned;
  }

  /**
   * Opens the device and makes or loads the weights; all ranks must do so at the same time.
   *
   * @throws {FileError} If the model is missing or damaged.
   * @throws {DeviceError} If the device cannot be used, or its memory is too small.
   * @throws {WorkerError} If another rank is lost.
   */
  static async open(init: RankBenchOptions, place: BenchPlace): Promise<RankBench> {
    const { options, plans, device: kind, threads, rowsSet } = init;
    const { model, decodeTokens, copyWeights } = options;
    const { host, timeoutMs, onProgress } = place;
    const config = model.kind === "folder" ? await readModel(model.folder) : model.config;
    const precision = precisionOf(config, options);
    using owned = new DisposableStack();
    const contextTokens = Math.max(...options.lengths, ...options.decodeContexts);
    const { batchSize } = options;
    const room = decodeTokens + 2;
    const sizes = { config, precision, contextTokens, room, ranks: host.size, batchSize };
    const opened = await openRankDevices({
      kind,
      threads,
      rowsSet,
      host,
      gpusPerRank: options.gpusPerRank,
      maxGpus: config.layerCount,
      isEnough: (devices, freeBytes) =>
        plans.every((plan) => fitsOn(devices, { question: { ...sizes, plan }, freeBytes })),
    });
    const devices = opened.devices.map((device) => owned.use(new ProfiledDevice(device)));
    const stages = stagesOn(devices, config);
    const { freeBytes, hasOwnGpus, dealtGpus } = opened;
    const chunkTokens = chunkTokensFor(DEVICE_TRAITS[kind], { config, precision, freeBytes });
    for (const plan of plans) {
      const question = { ...sizes, chunkTokens, plan };
      checkMemory(devices, { question, freeBytes, loaded: false, dealtGpus });
    }
    const weights = owned.use(
      model.kind === "folder"
        ? await loadWeights(stages, {
          folder: model.folder,
          copyWeights,
          config,
          precision,
          onProgress,
        })
        : await randomWeights(stages, config, precision),
    );
    const exchange = { host, hasOwnGpus, timeoutMs };
    const collective = owned.use(await connectDevices(devices, exchange));
    const parts = { config, devices, stages, weights, chunkTokens };
    return new RankBench(init, { parts, collective, place, owned: owned.move() });
  }

  /**
   * Does what is asked; all ranks must do so at the same time.
   *
   * @param call `onNote`: told what runs now.
   * @throws {WorkerError} If another rank is lost.
   */
  async run(request: BenchRequest, call: { onNote: (line: string) => void }): Promise<RankTimes> {
    const { onNote } = call;
    if (request.kind === "open") {
      await this.#openMode(request.plan);
      return {};
    }
    if (request.kind === "close") return { memory: await this.#closeMode(request) };
    const mode = this.#mode?.bench;
    invariant(mode !== undefined, "a mode is opened before it is timed");
    return request.kind === "prefill"
      ? { prefill: await mode.timePrefill(request.tokens, onNote) }
      : { decode: await mode.timeDecode(request.context, onNote) };
  }

  async #openMode(plan: CheckedPlan): Promise<void> {
    this.#freeMode();
    const { options, textIds } = this.#init;
    const { density, batchSize } = options;
    const precision = precisionOf(this.#parts.config, options);
    const model = await RankModel.assemble({
      ...{ ...this.#parts, plan, precision, density, batchSize },
    });
    const bench = new ModeBench(model, {
      ...{ options, plan, collective: this.#collective, status: this.#status },
      devices: this.#parts.devices,
      textIds: textIds === undefined ? undefined : decodeInt32(textIds),
    });
    this.#mode = { model, bench };
    await bench.warmUp();
  }

  async #closeMode(options: { withRates: boolean }): Promise<RankMemory> {
    const { devices, weights } = this.#parts;
    this.#freeMode();
    const deviceMib = Math.max(...devices.map(({ peakBytes }) => peakBytes)) / 2 ** 20;
    // Before the copy's buffers, which are not the model's memory.
    const rssMib = peakMemoryMib();
    const device = options.withRates && this.#collective.rank === 0 ? devices[0] : undefined;
    const readGbPerS = device && await weightReadRate(device, weights);
    const copyGbPerS = device && await copyRate(device);
    this.#status.enter("idle");
    return { rssMib, deviceMib, copyGbPerS, readGbPerS };
  }

  #freeMode(): void {
    this.#mode?.model[Symbol.dispose]();
    this.#mode = undefined;
  }

  /** Frees everything; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#freeMode();
    this.#owned.dispose();
  }
}
