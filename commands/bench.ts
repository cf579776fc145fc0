/**
 * The `bench` command: times prefill and decoding of a model, or of random weights of a shape.
 *
 * Token ids come from a linear congruential generator, so that every run computes the same.
 *
 * @module
 */
import { type AttentionMode, checkPlan } from "../lib/attention/plan.ts";
import { errorText, FileError } from "../lib/errors.ts";
import { SelfCollective } from "../lib/collective/self.ts";
import { ProfiledDevice } from "../lib/device/profiled.ts";
import { type LlamaConfig, readConfig } from "../lib/model/config.ts";
import type { ComputeDType } from "../lib/model/forward.ts";
import { randomWeights } from "../lib/model/random_weights.ts";
import { loadWeights } from "../lib/model/weights.ts";
import { chooseDevice, type DeviceWish, openDevice } from "../lib/device/open.ts";
import { checkMemory, chunkTokensFor } from "../lib/star/memory_plan.ts";
import { type EncodedContext, RankModel } from "../lib/star/rank.ts";
import { copyRate, peakMemoryMib } from "./bench_machine.ts";
import {
  type DecodeTiming,
  detailsJson,
  detailsText,
  median,
  type ModeReport,
  type PrefillTiming,
  timesJson,
} from "./bench_report.ts";
import { splitCosts } from "./bench_split.ts";

/** Options of {@linkcode runBench}; the defaults are the command line's. */
export interface BenchOptions {
  readonly model:
    | { readonly kind: "folder"; readonly folder: string }
    | { readonly kind: "shape"; readonly name: string; readonly config: LlamaConfig };
  readonly device: DeviceWish;
  readonly dtype: ComputeDType;
  /** Threads of an op; 0 takes all cores. */
  readonly threads: number;
  readonly modes: readonly AttentionMode[];
  /** Tokens to prefill. */
  readonly lengths: readonly number[];
  /** Context lengths at which decoding is timed. */
  readonly decodeContexts: readonly number[];
  readonly decodeTokens: number;
  readonly blockTokens: number;
  readonly anchorTokens: number;
  readonly stride: number;
  readonly threshold: number;
  /** Share of the causal blocks that sparse modes take; undefined leaves the choice to the mass. */
  readonly density: number | undefined;
  /** Timed runs per length. */
  readonly repeats: number;
  /** Whether to time ops one by one instead. */
  readonly kernels: boolean;
  readonly json: boolean;
  /** A file that gets lines of JSON, too. */
  readonly jsonPath: string | undefined;
}

/** Where a bench writes. */
export interface BenchOutput {
  /** Takes the text for stdout. */
  print(text: string): void;
  /** Takes a line about what runs now. */
  note(line: string): void;
}

/** Tokens of the run that is not timed; on a GPU so many that all code is loaded. */
const WARM_UP_TOKENS = { cpu: 512, cuda: 16_384 } as const;

/**
 * Times every mode and prints a report of each.
 *
 * @returns The reports, in the order of the modes.
 * @throws {UsageError} If sizes, stride or threshold cannot be used.
 * @throws {FileError} If the model is missing or damaged.
 * @throws {DeviceError} If the device cannot be used.
 */
export async function runBench(options: BenchOptions, output: BenchOutput): Promise<ModeReport[]> {
  const { model, dtype, decodeContexts } = options;
  const plans = options.modes.map((mode) => checkPlan({ ...options, mode, merge: "lse" }));
  const config = model.kind === "folder" ? await readConfig(model.folder) : model.config;
  using owned = new DisposableStack();
  const device = owned.use(await openBenchDevice(options, output));
  const { freeBytes } = device;
  const chunkTokens = chunkTokensFor(device, { config, dtype, freeBytes });
  for (const plan of plans) {
    const contextTokens = Math.max(...options.lengths, ...decodeContexts);
    const room = options.decodeTokens + 2;
    const question = { config, dtype, plan, ranks: 1, chunkTokens, contextTokens, room };
    checkMemory(device, { question, freeBytes, loaded: false });
  }
  output.note(`${device.description}: loading`);
  const weights = owned.use(
    model.kind === "folder"
      ? await loadWeights(device, { folder: model.folder, config, dtype })
      : await randomWeights(device, config),
  );
  const reports: ModeReport[] = [];
  for (const plan of plans) {
    const { density: forcedDensity } = options;
    const parts = { config, device, weights, plan, dtype, forcedDensity, chunkTokens };
    using rank = await RankModel.assemble(parts);
    const bench = new ModeBench(rank, { options, device, output, mode: plan.mode });
    const { prefill, decode } = await bench.run();
    reports.push({
      mode: plan.mode,
      plan,
      options,
      config,
      device: device.description,
      threads: device.threads,
      prefill,
      decode,
      rssMib: peakMemoryMib(),
      deviceMib: device.peakBytes / 2 ** 20,
      copyGbPerS: NaN,
    });
  }
  // Its buffers come last, so that they do not count as the model's memory.
  const copyGbPerS = decodeContexts.length === 0 ? NaN : await copyRate(device);
  const full = reports.map((report) => ({ ...report, copyGbPerS }));
  for (const report of full) {
    const json = detailsJson(report);
    output.print(options.json ? `${json}\n${timesJson(report)}\n` : detailsText(report));
    await appendLine(options.jsonPath, json);
  }
  return full;
}

/** Appends to a file, if there is one to append to. @throws {FileError} If it cannot be written. */
export async function appendLine(path: string | undefined, line: string): Promise<void> {
  if (path === undefined) return;
  try {
    await Deno.writeTextFile(path, `${line}\n`, { append: true });
  } catch (error) {
    throw new FileError(`Cannot write ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** Opens the device that a bench asks for, and counts what its ops cost. */
export async function openBenchDevice(
  options: Pick<BenchOptions, "device" | "dtype" | "threads">,
  output: BenchOutput,
): Promise<ProfiledDevice> {
  const { kind, note } = await chooseDevice(options.device, options);
  if (note !== undefined) output.note(note);
  const threads = options.threads > 0 ? options.threads : navigator.hardwareConcurrency;
  return new ProfiledDevice(await openDevice({ kind, threads }));
}

/** The ids of every run: x = 1664525 x + 1013904223 mod 2^32 from 12345, (x >>> 8) mod vocabulary. */
export function benchIds(count: number, vocabularySize: number): Int32Array<ArrayBuffer> {
  let x = 12345;
  return Int32Array.from({ length: count }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) % vocabularySize;
  });
}

/** The runs of one mode. */
class ModeBench {
  readonly #model: RankModel;
  readonly #options: BenchOptions;
  readonly #device: ProfiledDevice;
  readonly #output: BenchOutput;
  readonly #mode: AttentionMode;

  constructor(
    model: RankModel,
    parts: {
      options: BenchOptions;
      device: ProfiledDevice;
      output: BenchOutput;
      mode: AttentionMode;
    },
  ) {
    this.#model = model;
    this.#options = parts.options;
    this.#device = parts.device;
    this.#output = parts.output;
    this.#mode = parts.mode;
  }

  async run(): Promise<{ prefill: PrefillTiming[]; decode: DecodeTiming[] }> {
    const { lengths, decodeContexts } = this.#options;
    const { kind } = this.#device;
    // The caches of a CPU are warm after the shortest run; a GPU's clock takes a longer one.
    const tokens = kind === "cpu"
      ? Math.min(...lengths, ...decodeContexts)
      : Math.max(...lengths, ...decodeContexts);
    await this.#prefill(Math.min(tokens, WARM_UP_TOKENS[kind]));
    const prefill: PrefillTiming[] = [];
    for (const tokens of lengths) prefill.push(await this.#timePrefill(tokens));
    const decode: DecodeTiming[] = [];
    for (const context of decodeContexts) decode.push(await this.#timeDecode(context));
    return { prefill, decode };
  }

  async #timePrefill(tokens: number): Promise<PrefillTiming> {
    const { repeats } = this.#options;
    await this.#model.drawBlocks(tokens - 1);
    const seconds: number[] = [];
    let costs = splitCosts(new Map(), 1);
    let density = NaN;
    for (let run = 0; run < repeats; run++) {
      this.#output.note(`${this.#mode}: prefill of ${tokens} tokens, run ${run + 1}`);
      // On a GPU only marks tell the ops' times; they would slow down the other runs.
      this.#device.count({ marks: run === repeats - 1 });
      const result = await this.#prefill(tokens);
      density = result.density;
      seconds.push(result.seconds);
      costs = splitCosts(await this.#device.costs(), density);
    }
    return { tokens, seconds, costs, density };
  }

  /** From an empty context to the last token's logits. */
  async #prefill(tokens: number): Promise<{ seconds: number; density: number }> {
    const ids = benchIds(tokens, this.#model.config.vocabularySize);
    const startMs = performance.now();
    using encoded = await this.#encode(ids.subarray(0, tokens - 1), 2);
    await this.#answer(encoded, { queryIds: ids.subarray(tokens - 1), tokensToGenerate: 1 });
    const seconds = (performance.now() - startMs) / 1000;
    const counts = encoded.phase1.selected.flat();
    const taken = counts.reduce((sum, count) => sum + count.taken, 0);
    const causal = counts.reduce((sum, count) => sum + count.causal, 0);
    return { seconds, density: causal === 0 ? 1 : taken / causal };
  }

  /** Seconds of each token after the first that follows a context. */
  async #timeDecode(context: number): Promise<DecodeTiming> {
    const { decodeTokens } = this.#options;
    this.#output.note(`${this.#mode}: decoding after ${context} tokens`);
    const ids = benchIds(context, this.#model.config.vocabularySize);
    using encoded = await this.#encode(ids.subarray(0, context - 1), decodeTokens + 2);
    const timesMs: number[] = [];
    await this.#answer(encoded, {
      queryIds: ids.subarray(context - 1),
      tokensToGenerate: decodeTokens + 1,
      onToken: () => timesMs.push(performance.now()),
    });
    const seconds = timesMs.slice(1).map((time, i) => (time - (timesMs[i] ?? 0)) / 1000);
    return { context, seconds: median(seconds) };
  }

  #encode(contextIds: Int32Array, room: number): Promise<EncodedContext> {
    const collective = new SelfCollective();
    return this.#model.encode(contextIds, { collective, room, onProgress: () => {} });
  }

  async #answer(
    encoded: EncodedContext,
    options: { queryIds: Int32Array; tokensToGenerate: number; onToken?: () => void },
  ): Promise<void> {
    const { queryIds, tokensToGenerate, onToken = () => {} } = options;
    const collective = new SelfCollective();
    await this.#model.answer(encoded, {
      request: { sample: "bench", queryIds, tokensToGenerate, stopIds: [], topLogits: 0 },
      collective,
      onLayer: () => {},
      onToken,
    });
    collective.close();
  }
}
