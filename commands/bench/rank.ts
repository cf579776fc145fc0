/**
 * The runs of a bench on one rank; one process alone is the case of one rank.
 *
 * @module
 */
import { type CheckedPlan, modeOf } from "../../lib/attention/plan.ts";
import type { Collective } from "../../lib/parallel/collective.ts";
import type { RankStatus } from "../../lib/parallel/state.ts";
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import type { DeviceKind } from "../../lib/device/open.ts";
import { addCosts, ProfiledDevice } from "../../lib/device/profiled.ts";
import { type Stage, stagesOn } from "../../lib/device/stages.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { readModel } from "../../lib/model/read_model.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import type { ModelWeights } from "../../lib/model/weight_tensors.ts";
import { loadWeights } from "../../lib/model/weights.ts";
import { connectDevices, exchangeName } from "../../lib/engine/exchange.ts";
import { checkMemory, chunkTokensFor, fitsOn } from "../../lib/engine/memory_plan.ts";
import { RankModel, type RankPlace } from "../../lib/engine/rank.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import type { EncodedContext } from "../../lib/star/encode.ts";
import { totalCount } from "../../lib/star/work.ts";
import { openRankDevices } from "../../lib/engine/rank_device.ts";
import { copyRate, peakMemoryMib } from "./machine.ts";
import type { BenchOptions } from "./options.ts";
import { type DecodeTiming, median, type PrefillTiming } from "./report.ts";
import { splitCosts } from "./split.ts";

/** What every rank is told: plain data. */
export interface RankBenchOptions {
  readonly options: BenchOptions;
  readonly plans: readonly CheckedPlan[];
  readonly device: DeviceKind;
  readonly threads: number;
}

/** A rank among the others. */
export interface BenchPlace extends RankPlace {
  /** What the host's exchange is, for people. */
  readonly hostName: string;
  readonly status: RankStatus;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
}

/** What to time. */
export interface BenchRequest {
  readonly plan: CheckedPlan;
  /** Whether rank 0 times a large copy, too, when the model's working memory is free again. */
  readonly withCopy: boolean;
}

/** What a rank is. */
export interface BenchFacts {
  readonly device: string;
  readonly threads: number;
  readonly exchange: string;
}

/** What a rank found about one mode. */
export interface RankTimes {
  readonly prefill: readonly PrefillTiming[];
  readonly decode: readonly DecodeTiming[];
  /** Peak of the process, in MiB. */
  readonly rssMib: number;
  /** Peak of what was allocated on a device, in MiB. */
  readonly deviceMib: number;
  readonly copyGbPerS: number | undefined;
}

/** Tokens of the run that is not timed; on a GPU so many that all code is loaded. */
const WARM_UP_TOKENS = { cpu: 512, cuda: 16_384 } as const;

/** The ids of every run: x = 1664525 x + 1013904223 mod 2^32 from 12345, (x >>> 8) mod vocabulary. */
export function benchIds(count: number, vocabularySize: number): Int32Array<ArrayBuffer> {
  let x = 12345;
  return Int32Array.from({ length: count }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) % vocabularySize;
  });
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
    const { options, plans, device: kind, threads } = init;
    const { model, decodeTokens } = options;
    const precision = PRECISIONS[options.dtype];
    const { host, timeoutMs, onProgress } = place;
    const config = model.kind === "folder" ? await readModel(model.folder) : model.config;
    using owned = new DisposableStack();
    const contextTokens = Math.max(...options.lengths, ...options.decodeContexts);
    const { batchSize } = options;
    const room = decodeTokens + 2;
    const sizes = { config, precision, contextTokens, room, ranks: host.size, batchSize };
    const opened = await openRankDevices({
      kind,
      threads,
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
        ? await loadWeights(stages, { folder: model.folder, config, precision, onProgress })
        : await randomWeights(stages, config),
    );
    const exchange = { host, hasOwnGpus, timeoutMs };
    const collective = owned.use(await connectDevices(devices, exchange));
    const parts = { config, devices, stages, weights, chunkTokens };
    return new RankBench(init, { parts, collective, place, owned: owned.move() });
  }

  /**
   * Times one mode; all ranks must do so at the same time.
   *
   * @param call `onNote`: told what runs now.
   * @throws {WorkerError} If another rank is lost.
   */
  async run(request: BenchRequest, call: { onNote: (line: string) => void }): Promise<RankTimes> {
    const { plan, withCopy } = request;
    const { devices } = this.#parts;
    const { options: { dtype, density, batchSize } } = this.#init;
    const precision = PRECISIONS[dtype];
    const times = await (async () => {
      using model = await RankModel.assemble({
        ...{ ...this.#parts, plan, precision, density, batchSize },
      });
      const collective = this.#collective;
      const parts = {
        options: this.#init.options,
        devices,
        collective,
        plan,
        status: this.#status,
      };
      return await new ModeBench(model, { ...parts, onNote: call.onNote }).run();
    })();
    const deviceMib = Math.max(...devices.map(({ peakBytes }) => peakBytes)) / 2 ** 20;
    // Before the copy's buffers, which are not the model's memory.
    const rssMib = peakMemoryMib();
    const copier = withCopy && this.#collective.rank === 0 ? devices[0] : undefined;
    const copyGbPerS = copier && await copyRate(copier);
    this.#status.enter("idle");
    return { ...times, rssMib, deviceMib, copyGbPerS };
  }

  /** Frees everything; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}

/** What the runs of a mode need besides the model. */
interface ModeBenchParts {
  readonly options: BenchOptions;
  readonly devices: readonly ProfiledDevice[];
  readonly collective: Collective;
  readonly plan: CheckedPlan;
  readonly status: RankStatus;
  readonly onNote: (line: string) => void;
}

/** The runs of one mode. */
class ModeBench {
  readonly #model: RankModel;
  readonly #parts: ModeBenchParts;

  constructor(model: RankModel, parts: ModeBenchParts) {
    this.#model = model;
    this.#parts = parts;
  }

  async run(): Promise<{ prefill: PrefillTiming[]; decode: DecodeTiming[] }> {
    const { options: { lengths, decodeContexts } } = this.#parts;
    await this.#prefill(this.#warmUpTokens());
    const prefill: PrefillTiming[] = [];
    for (const tokens of lengths) prefill.push(await this.#timePrefill(tokens));
    const decode: DecodeTiming[] = [];
    for (const context of decodeContexts) decode.push(await this.#timeDecode(context));
    return { prefill, decode };
  }

  #warmUpTokens(): number {
    const { options: { lengths, decodeContexts }, devices, plan, collective } = this.#parts;
    // The caches of a CPU are warm after the shortest run; a GPU's clock takes a longer one.
    if (devices[0]?.hasHostMemory === true) {
      return Math.min(...lengths, ...decodeContexts, WARM_UP_TOKENS.cpu);
    }
    // Every rank has to get a block.
    const { cut } = plan;
    const blocks = cut.kind === "blocks" ? collective.size * cut.blockTokens : 0;
    const longest = Math.max(...lengths, ...decodeContexts);
    return Math.min(longest, Math.max(WARM_UP_TOKENS.cuda, blocks));
  }

  async #timePrefill(tokens: number): Promise<PrefillTiming> {
    const { options: { repeats }, plan, devices, collective, onNote } = this.#parts;
    await this.#model.drawTiles(tokens - 1, collective);
    const seconds: number[] = [];
    let costs = splitCosts(new Map(), 1);
    let density = NaN;
    for (let run = 0; run < repeats; run++) {
      onNote(`${modeOf(plan)}: prefill of ${tokens} tokens, run ${run + 1}`);
      // On a GPU only marks tell the ops' times; they would slow down the other runs.
      for (const device of devices) device.count({ marks: run === repeats - 1 });
      const result = await this.#prefill(tokens);
      density = result.density;
      seconds.push(result.seconds);
      const ops = await Promise.all(devices.map((device) => device.costs()));
      costs = splitCosts(addCosts(ops), density);
    }
    return { tokens, seconds, costs, density };
  }

  /** From an empty context to the last token's logits; all ranks start together. */
  async #prefill(tokens: number): Promise<{ seconds: number; density: number }> {
    const ids = benchIds(tokens, this.#model.config.vocabularySize);
    await this.#parts.collective.barrier();
    const startMs = performance.now();
    using encoded = await this.#encode(ids.subarray(0, tokens - 1), 2);
    await this.#answer(encoded, { queryIds: ids.subarray(tokens - 1), tokensToGenerate: 1 });
    const seconds = (performance.now() - startMs) / 1000;
    const { selected, causal } = totalCount(encoded.phase1);
    return { seconds, density: causal === 0 ? 1 : selected / causal };
  }

  /** Several contexts encoded one after the other, then decoded together. */
  async #timeDecode(context: number): Promise<DecodeTiming> {
    const { options: { batchSize: batch, repeats }, plan, onNote } = this.#parts;
    const steps: number[] = [];
    const samples: number[] = [];
    // The steps of one sequence are many enough by themselves.
    for (let run = 0; run < (batch === 1 ? 1 : repeats); run++) {
      const what = batch === 1 ? "decoding" : `${batch} sequences, run ${run + 1}, decoding`;
      onNote(`${modeOf(plan)}: ${what} after ${context} tokens`);
      const { stepSeconds, seconds } = await this.#decodeBatch(context);
      steps.push(...stepSeconds);
      samples.push(seconds / batch);
    }
    return { context, batch, seconds: median(steps), sampleSeconds: median(samples) };
  }

  /** From empty contexts to the last token of all; all ranks start together. */
  async #decodeBatch(
    context: number,
  ): Promise<{ stepSeconds: readonly number[]; seconds: number }> {
    const { options: { decodeTokens, batchSize: batch }, collective, status } = this.#parts;
    const all = benchIds(context + batch - 1, this.#model.config.vocabularySize);
    using owned = new DisposableStack();
    await collective.barrier();
    const startMs = performance.now();
    const timesMs: number[] = [];
    const answers: Answer[] = [];
    for (let i = 0; i < batch; i++) {
      const ids = all.subarray(i, i + context);
      const encoded = owned.use(
        await this.#encode(ids.subarray(0, -1), decodeTokens + 2, batch - 1 - i),
      );
      const query = { queryIds: ids.subarray(-1), tokensToGenerate: decodeTokens + 1 };
      const onToken = i === 0 ? () => void timesMs.push(performance.now()) : () => {};
      answers.push(await this.#begin(encoded, { ...query, onToken }));
    }
    const onLayer = () => status.advance();
    while (answers.some(({ isDone }) => !isDone)) {
      await this.#model.decode(answers, { collective, onLayer, maxSteps: Infinity });
    }
    const seconds = (performance.now() - startMs) / 1000;
    // The first token comes before the others' contexts are encoded.
    const stepsMs = batch === 1 ? timesMs : timesMs.slice(1);
    const stepSeconds = stepsMs.slice(1).map((time, i) => (time - (stepsMs[i] ?? 0)) / 1000);
    return { stepSeconds, seconds };
  }

  async #encode(contextIds: Int32Array, room: number, others = 0): Promise<EncodedContext> {
    const { collective, status } = this.#parts;
    status.enter("phase 1");
    const onProgress = () => status.advance();
    return await this.#model.encode(contextIds, { collective, room, others, onProgress });
  }

  async #answer(
    encoded: EncodedContext,
    query: { queryIds: Int32Array; tokensToGenerate: number },
  ): Promise<void> {
    const { collective, status } = this.#parts;
    const answer = await this.#begin(encoded, { ...query, onToken: () => {} });
    const onLayer = () => status.advance();
    while (!answer.isDone) {
      await this.#model.decode([answer], { collective, onLayer, maxSteps: Infinity });
    }
  }

  async #begin(
    encoded: EncodedContext,
    options: { queryIds: Int32Array; tokensToGenerate: number; onToken: () => void },
  ): Promise<Answer> {
    const { queryIds, tokensToGenerate, onToken } = options;
    const { collective, status } = this.#parts;
    status.enter("phase 2");
    return await this.#model.begin(encoded, {
      request: { sample: "bench", queryIds, tokensToGenerate, stopIds: [], topLogits: 0 },
      collective,
      onLayer: () => status.advance(),
      onToken,
    });
  }
}
