/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2): the query, then each generated token,
 * attends to all cached keys; only the query host keeps their keys and values.
 *
 * The query host alone computes logits and chooses the token, and tells the others.
 *
 * @module
 */
import { GlobalAttention, type StepKeys } from "../attention/global.ts";
import { type CheckedPlan, mergeOf } from "../attention/plan.ts";
import type { Collective } from "../parallel/collective.ts";
import { type DeviceExchange, exchangeOn } from "../parallel/device_exchange.ts";
import type { Device, OpRecorder, PendingBytes, RecordedOps } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { sendTensor } from "../device/send.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import type { Bytes } from "../ffi/memory.ts";
import { type Chunk, consecutive, type Transformer } from "../model/forward.ts";
import type { KvCache } from "../model/kv_cache.ts";
import { keyMean } from "../ops/rank_score.ts";
import { argmax, topK } from "../ops/sample.ts";
import type { BlockLayout } from "./blocks.ts";
import type { GenerateRequest } from "./request.ts";
import { isOn } from "./switches.ts";

/** What phase 2 works with. */
export interface Phase2Options {
  /** Where the layers lie. */
  readonly stages: readonly Stage[];
  readonly transformer: Transformer;
  readonly plan: CheckedPlan;
  readonly layout: BlockLayout;
  readonly collective: Collective;
  /** This host's keys and values; on the query host with room for query and generated tokens. */
  readonly cache: KvCache;
  /** Tokens of the whole context, on all hosts: the position of the query's first token. */
  readonly contextTokens: number;
  /** Context rows in the cache. */
  readonly cachedTokens: number;
  /** The anchor's keys, for merge antidiagonal. */
  readonly anchor: ((layer: number) => KvSegment) | undefined;
  readonly request: Omit<GenerateRequest, "contextIds">;
  /** Called after every layer of a step. */
  readonly onLayer: () => void;
  /** Called for every generated token, with how many there are. */
  readonly onToken: (count: number) => void;
}

/** What phase 2 found; the same on every rank, but for the logits. */
export interface Phase2Result {
  readonly ids: number[];
  /** Only on the query host. */
  readonly topLogits: (readonly [number, number])[];
}

/** The longest step for a query, unless the merge needs the whole of it. */
export function stepTokens(
  options: { plan: CheckedPlan; queryTokens: number; maxTokens: number },
): number {
  // StarXAttention's score looks at all query tokens at once.
  if (mergeOf(options.plan) === "antidiagonal") return options.queryTokens;
  return Math.min(options.queryTokens, options.maxTokens);
}

/** Encodes the query and generates greedily. */
export async function generate(options: Phase2Options): Promise<Phase2Result> {
  using phase = new Phase2(options);
  await phase.prepare();
  return await phase.run();
}

class Phase2 implements Disposable {
  readonly #options: Phase2Options;
  readonly #attention: GlobalAttention;
  readonly #anchorMeans: Tensor[] = [];
  /** Where a recorded step finds its token. */
  readonly #nextToken: Tensor | undefined;
  /** The chosen token, where it is not chosen right into that place. */
  readonly #ownToken: Tensor | undefined;
  readonly #isQueryHost: boolean;
  /** One per stage, where a step can be recorded. */
  readonly #recorders: readonly OpRecorder[] | undefined;
  /** One per stage, where there are several hosts. */
  readonly #exchanges: readonly DeviceExchange[];
  /** A generated token's step, stage by stage, where the devices record ops. */
  readonly #recorded: RecordedOps[] = [];
  /** Query and generated tokens so far. */
  #steps = 0;

  constructor(options: Phase2Options) {
    this.#options = options;
    const { stages, transformer, layout, collective, plan, request } = options;
    const { kvHeads, headDim, queryHeads } = transformer.config;
    this.#isQueryHost = collective.rank === layout.queryHost;
    const merge = mergeOf(plan);
    if (merge === "antidiagonal" && layout.hosts.length > 1 && options.anchor !== undefined) {
      const shape = [kvHeads, headDim];
      const label = "mean of the anchor's keys";
      for (const { device, firstLayer, endLayer } of stages) {
        for (let layer = firstLayer; layer < endLayer; layer++) {
          this.#anchorMeans.push(Tensor.allocate(device, { dtype: "f32", shape, label }));
        }
      }
    }
    // Ranks without keys learn the tokens, too.
    const isShared = collective.size > 1;
    this.#exchanges = isShared ? stages.map(({ device }) => exchangeOn(collective, device)) : [];
    // An exchange by way of the host cannot be recorded.
    const canRecord = !isShared ||
      this.#exchanges.every((exchange) => exchange.canBeRecorded) && isOn("STARX_RECORD_EXCHANGES");
    const recorders = stages.flatMap(({ device }) => device.recorder ?? []);
    this.#recorders = canRecord && recorders.length === stages.length ? recorders : undefined;
    // A recorded step finds the token where the step before has put it.
    this.#nextToken = this.#recorders === undefined ? undefined : transformer.tokenIds(1);
    this.#ownToken = this.#nextToken === undefined || stages.length > 1
      ? Tensor.allocate(lastDevice(stages), { dtype: "i32", shape: [1], label: "token" })
      : undefined;
    const queryTokens = request.queryIds.length;
    this.#attention = new GlobalAttention(stages, {
      collective,
      hostCount: layout.hosts.length,
      merge,
      queryHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      maxTokens: stepTokens({ plan, queryTokens, maxTokens: transformer.maxTokens }),
      anchorMeans: this.#anchorMeans,
    });
  }

  async prepare(): Promise<void> {
    const { anchor } = this.#options;
    if (anchor === undefined) return;
    for (const [layer, out] of this.#anchorMeans.entries()) {
      await keyMean(out.device, { out, keys: anchor(layer) });
    }
  }

  async run(): Promise<Phase2Result> {
    const { request, transformer, plan } = this.#options;
    const { queryIds } = request;
    const maxTokens = stepTokens({
      plan,
      queryTokens: queryIds.length,
      maxTokens: transformer.maxTokens,
    });
    let lastRow = 0;
    for (let begin = 0; begin < queryIds.length; begin += maxTokens) {
      const ids = queryIds.subarray(begin, begin + maxTokens);
      await this.#step(ids);
      lastRow = ids.length - 1;
    }
    await this.#predict(lastRow);
    const topLogits = await this.#largest(lastRow, request.topLogits);
    const recorders = this.#recorders;
    const ids = recorders === undefined
      ? await this.#generate()
      : await this.#generateRecorded(recorders);
    return { ids, topLogits };
  }

  /** Step by step: every host learns a token before the next step. */
  async #generate(): Promise<number[]> {
    const { request: { tokensToGenerate, stopIds }, onToken } = this.#options;
    const ids: number[] = [];
    for (;;) {
      const id = await this.#readToken();
      ids.push(id);
      onToken(ids.length);
      if (stopIds.includes(id) || ids.length === tokensToGenerate) return ids;
      await this.#step(Int32Array.of(id));
      await this.#predict(0);
    }
  }

  /**
   * As `#generate()`, with recorded steps, and where devices run them on their own a step ahead: they
   * have chosen the token before it is known here.
   */
  async #generateRecorded(recorders: readonly OpRecorder[]): Promise<number[]> {
    const { request: { tokensToGenerate, stopIds }, onToken } = this.#options;
    const ids: number[] = [];
    await this.#shareToken();
    let pending = this.#passToken(recorders);
    for (;;) {
      const isLast = ids.length + 1 === tokensToGenerate;
      const isAhead = !isLast && recorders.every(({ runsAhead }) => runsAhead);
      const following = isAhead ? await this.#startStep(recorders) : undefined;
      const id = readToken(await pending.read());
      // What hung because of a lost rank has ended, too, and the token means nothing.
      for (const exchange of this.#exchanges) exchange.watchRecorded();
      ids.push(id);
      onToken(ids.length);
      if (isLast || stopIds.includes(id)) {
        await following?.read();
        return ids;
      }
      pending = following ?? await this.#startStep(recorders);
    }
  }

  /** Starts the step of the token that the device has chosen last. */
  async #startStep(recorders: readonly OpRecorder[]): Promise<PendingBytes> {
    const { transformer, onLayer } = this.#options;
    const { chunk, keys } = this.#plan(new Int32Array(1), { isRecorded: true });
    await transformer.writePlaces(chunk);
    await this.#attention.writeInputs(keys);
    // A recording holds the ops of one device; what is copied from one to the next lies between.
    for (const [stage, recorder] of recorders.entries()) {
      transformer.enterStage(stage, chunk);
      const recorded = this.#recorded[stage];
      if (recorded !== undefined) {
        await recorded.run();
        this.#exchanges[stage]?.watchRecorded();
        continue;
      }
      const start = async (): Promise<void> => {
        await transformer.runStage(stage, chunk);
        if (stage < recorders.length - 1) return;
        await this.#predict(0);
        await this.#shareToken();
      };
      // The first one runs as it is, so that libraries set up what they need outside of a record.
      await start();
      this.#recorded.push(await recorder.record(start));
    }
    onLayer();
    this.#steps += 1;
    return this.#passToken(recorders);
  }

  /** Brings the chosen token to where the next step begins, and fetches it from there. */
  #passToken([recorder]: readonly OpRecorder[]): PendingBytes {
    const [from, to] = [this.#ownToken, this.#nextToken];
    invariant(recorder !== undefined && to !== undefined, "a recorded step has a place");
    if (from !== undefined) sendTensor({ from, to });
    return recorder.fetch(to);
  }

  /** Runs query tokens, or a generated one, through the model on all hosts. */
  async #step(ids: Int32Array): Promise<void> {
    const { transformer } = this.#options;
    const { chunk, keys } = this.#plan(ids);
    await this.#attention.writeInputs(keys);
    await transformer.forward(chunk);
    this.#steps += ids.length;
  }

  /** A step's tokens, and the keys that they see. */
  #plan(ids: Int32Array, options: { isRecorded?: boolean } = {}): { chunk: Chunk; keys: StepKeys } {
    const { contextTokens, cache, cachedTokens, onLayer } = this.#options;
    const isQueryHost = this.#isQueryHost;
    const firstRow = cachedTokens + this.#steps;
    const keyCount = isQueryHost ? firstRow + ids.length : cachedTokens;
    // Recorded ops must do for all later tokens: they read the number of keys from the device.
    const tokens = options.isRecorded === true ? cache.capacity : keyCount;
    const keys = {
      keys: (layer: number) => cache.segment(layer, { start: 0, tokens }),
      keyCount,
      isQueryHost,
    };
    const chunk = {
      ids,
      positions: consecutive(contextTokens + this.#steps, ids.length),
      target: isQueryHost
        ? { layer: (layer: number) => cache.layer(layer), rows: consecutive(firstRow, ids.length) }
        : undefined,
      attention: this.#attention.step(keys),
      keysOnly: false,
      onLayer,
    };
    return { chunk, keys };
  }

  /** Where the chosen token is, on the device of the logits. */
  get #token(): Tensor {
    const token = this.#ownToken ?? this.#nextToken;
    invariant(token !== undefined, "a chosen token has a place");
    return token;
  }

  /** The query host chooses the most likely token behind a row of the last step. */
  async #predict(row: number): Promise<void> {
    if (!this.#isQueryHost) return;
    const logits = await this.#options.transformer.logits(row);
    await argmax(logits.device, { out: this.#token, logits });
  }

  /** On the device: all hosts' next step finds the token that the query host has chosen. */
  async #shareToken(): Promise<void> {
    const { queryHost: root } = this.#options.layout;
    await this.#exchanges.at(-1)?.broadcastRegion(this.#token, { root });
  }

  async #largest(row: number, count: number): Promise<(readonly [number, number])[]> {
    if (!this.#isQueryHost || count === 0) return [];
    return await largest(await this.#options.transformer.logits(row), count);
  }

  /** The chosen token: all ranks learn it. */
  async #readToken(): Promise<number> {
    const { collective, layout } = this.#options;
    const bytes = new Uint8Array(await this.#token.toBytes());
    await collective.broadcast(bytes, { root: layout.queryHost });
    return readToken(bytes);
  }

  [Symbol.dispose](): void {
    for (const recorded of this.#recorded) recorded[Symbol.dispose]();
    this.#attention[Symbol.dispose]();
    this.#ownToken?.[Symbol.dispose]();
    for (const mean of this.#anchorMeans) mean[Symbol.dispose]();
  }
}

/** Where the logits are. */
function lastDevice(stages: readonly Stage[]): Device {
  const last = stages.at(-1);
  invariant(last !== undefined, "a model has a stage");
  return last.device;
}

function readToken(bytes: Bytes): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getInt32(0, true);
}

/** From here on a GPU, which looks for the largest one after the other, is slower than a sort. */
const DEVICE_TOP_K = 512;

/** In the order of `topK()`: equal ones by index, NaN last. */
function sortedLogits(logits: Float32Array): [number, number][] {
  const keys = logits.map((value) => Number.isNaN(value) ? -Infinity : value);
  const order = Uint32Array.from(keys, (_, id) => id);
  order.sort((a, b) => (keys[b] ?? 0) - (keys[a] ?? 0) || a - b);
  return Array.from(order, (id) => [id, logits[id] ?? NaN]);
}

async function largest(logits: Tensor, count: number): Promise<[number, number][]> {
  const { device, size } = logits;
  if (!device.hasHostMemory && count > DEVICE_TOP_K) {
    return sortedLogits(await logits.toFloats()).slice(0, count);
  }
  const shape = [Math.min(count, size)];
  using ids = Tensor.allocate(device, { dtype: "i32", shape, label: "largest logits' ids" });
  using values = Tensor.allocate(device, { dtype: "f32", shape, label: "largest logits" });
  await topK(device, { ids, values, logits: logits.reshape([size]) });
  const found = await values.toFloats();
  return [...await ids.toInts()].map((id, i) => [id, found[i] ?? NaN]);
}
