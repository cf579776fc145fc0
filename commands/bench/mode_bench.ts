/**
 * The runs of one mode of a bench on one rank.
 *
 * @module
 */
import { type CheckedPlan, modeOf } from "../../lib/attention/plan.ts";
import { addCosts, type ProfiledDevice } from "../../lib/device/profiled.ts";
import type { RankModel } from "../../lib/engine/rank.ts";
import type { Collective } from "../../lib/parallel/collective.ts";
import type { RankStatus } from "../../lib/parallel/state.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import type { EncodedContext } from "../../lib/star/encode.ts";
import { totalCount } from "../../lib/star/work.ts";
import type { BenchOptions } from "./options.ts";
import { splitCosts } from "./split.ts";
import { type DecodeTiming, median, type PrefillTiming, spread } from "./timings.ts";

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

/** What the runs of a mode need besides the model. */
interface ModeBenchParts {
  readonly options: BenchOptions;
  readonly devices: readonly ProfiledDevice[];
  readonly collective: Collective;
  readonly plan: CheckedPlan;
  readonly status: RankStatus;
  /** The tokens of a text; undefined for random ones. */
  readonly textIds: Int32Array | undefined;
}

/** How a run tells what runs now. */
type OnNote = (line: string) => void;

/** The runs of one mode; all ranks must begin each at the same time. */
export class ModeBench {
  readonly #model: RankModel;
  readonly #parts: ModeBenchParts;

  constructor(model: RankModel, parts: ModeBenchParts) {
    this.#model = model;
    this.#parts = parts;
  }

  /** A run that is not timed. */
  async warmUp(): Promise<void> {
    await this.#prefill(this.#warmUpTokens());
  }

  #ids(count: number): Int32Array {
    const { textIds } = this.#parts;
    return textIds?.subarray(0, count) ?? benchIds(count, this.#model.config.vocabularySize);
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

  /** Prefills of a length. */
  async timePrefill(tokens: number, onNote: OnNote): Promise<PrefillTiming> {
    const { options: { repeats }, plan, devices, collective } = this.#parts;
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
    const ids = this.#ids(tokens);
    await this.#parts.collective.barrier();
    const startMs = performance.now();
    using encoded = await this.#encode(ids.subarray(0, tokens - 1), 2);
    await this.#answer(encoded, { queryIds: ids.subarray(tokens - 1), tokensToGenerate: 1 });
    const seconds = (performance.now() - startMs) / 1000;
    const { selected, causal } = totalCount(encoded.phase1);
    return { seconds, density: causal === 0 ? 1 : selected / causal };
  }

  /** Several contexts encoded one after the other, then decoded together. */
  async timeDecode(context: number, onNote: OnNote): Promise<DecodeTiming> {
    const { options: { batchSize: batch, repeats }, plan } = this.#parts;
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
    const [seconds, sampleSeconds] = [median(steps), median(samples)];
    return { context, batch, seconds, spread: spread(steps), steps: steps.length, sampleSeconds };
  }

  /** From empty contexts to the last token of all; all ranks start together. */
  async #decodeBatch(
    context: number,
  ): Promise<{ stepSeconds: readonly number[]; seconds: number }> {
    const { options: { decodeTokens, batchSize: batch }, collective, status } = this.#parts;
    const all = this.#ids(context + batch - 1);
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
