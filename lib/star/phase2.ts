/**
 * Phase 2 of Star Attention (arXiv 2411.17116, section 2.2): the query, then each generated token,
 * attends to all cached keys; only the query host keeps their keys and values.
 *
 * The query host alone computes logits and chooses the token, and tells the others.
 *
 * @module
 */
import { GlobalAttention, type StepKeys } from "../attention/global.ts";
import type { AttentionPlan } from "../attention/plan.ts";
import type { Collective } from "../collective/collective.ts";
import { type DeviceCollective, isDeviceCollective } from "../collective/tensors.ts";
import type { Device, OpRecorder, PendingBytes, RecordedOps } from "../device/device.ts";
import type { KvSegment } from "../device/kv_segment.ts";
import { Tensor } from "../device/tensor.ts";
import type { Bytes } from "../ffi/memory.ts";
import type { Chunk, Transformer } from "../model/forward.ts";
import type { KvCache } from "../model/kv_cache.ts";
import { keyMean } from "../ops/antidiagonal_score.ts";
import { argmax, topK } from "../ops/sample.ts";
import type { BlockLayout } from "./blocks.ts";
import type { GenerateRequest } from "./request.ts";
import { isOn } from "./switches.ts";

/** What phase 2 works with. */
export interface Phase2Options {
  readonly device: Device;
  readonly transformer: Transformer;
  readonly plan: AttentionPlan;
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
  options: { plan: AttentionPlan; queryTokens: number; maxTokens: number },
): number {
  // The seed's score looks at all query tokens at once.
  if (options.plan.merge === "antidiagonal") return options.queryTokens;
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
  readonly #token: Tensor;
  readonly #isQueryHost: boolean;
  /** Where a step can be recorded. */
  readonly #recorder: OpRecorder | undefined;
  /** What gives all hosts the token of a recorded step, in the order of the device's ops. */
  readonly #tokens: DeviceCollective | undefined;
  /** A generated token's step, where the device records ops. */
  #recorded: RecordedOps | undefined;
  /** Query and generated tokens so far. */
  #steps = 0;

  constructor(options: Phase2Options) {
    this.#options = options;
    const { device, transformer, layout, collective, plan, request } = options;
    const { kvHeads, headDim, queryHeads, layerCount } = transformer.config;
    this.#isQueryHost = collective.rank === layout.queryHost;
    if (plan.merge === "antidiagonal" && layout.hosts.length > 1 && options.anchor !== undefined) {
      for (let layer = 0; layer < layerCount; layer++) {
        const shape = [kvHeads, headDim];
        this.#anchorMeans.push(
          Tensor.allocate(device, { dtype: "f32", shape, label: "mean of the anchor's keys" }),
        );
      }
    }
    const isShared = layout.hosts.length > 1;
    // An exchange by way of the host cannot be recorded.
    const canRecord = isDeviceCollective(collective) && isOn("STARX_RECORD_EXCHANGES");
    this.#recorder = isShared && !canRecord ? undefined : device.recorder;
    this.#tokens = isShared && isDeviceCollective(collective) ? collective : undefined;
    // A recorded step finds the token where the step before has put it.
    this.#token = this.#recorder === undefined
      ? Tensor.allocate(device, { dtype: "i32", shape: [1], label: "token" })
      : transformer.tokenIds(1);
    const queryTokens = request.queryIds.length;
    this.#attention = new GlobalAttention(device, {
      collective,
      hostCount: layout.hosts.length,
      merge: plan.merge,
      queryHeads,
      headDim,
      scale: 1 / Math.sqrt(headDim),
      maxTokens: stepTokens({ plan, queryTokens, maxTokens: transformer.maxTokens }),
      anchorMeans: this.#anchorMeans,
    });
  }

  async prepare(): Promise<void> {
    const { anchor, device } = this.#options;
    if (anchor === undefined) return;
    for (const [layer, out] of this.#anchorMeans.entries()) {
      await keyMean(device, { out, keys: anchor(layer) });
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
    const recorder = this.#recorder;
    const ids = recorder === undefined
      ? await this.#generate()
      : await this.#generateRecorded(recorder);
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

  /** As `#generate()`, a step ahead: the device has chosen the token before it is known here. */
  async #generateRecorded(recorder: OpRecorder): Promise<number[]> {
    const { request: { tokensToGenerate, stopIds }, onToken } = this.#options;
    const ids: number[] = [];
    await this.#shareToken();
    let pending = recorder.fetch(this.#token);
    for (;;) {
      const isLast = ids.length + 1 === tokensToGenerate;
      const following = isLast ? undefined : await this.#startStep(recorder);
      const id = readToken(await pending.read());
      // What hung because of a lost rank has ended, too, and the token means nothing.
      this.#tokens?.watchRecorded();
      ids.push(id);
      onToken(ids.length);
      if (following === undefined) return ids;
      pending = following;
      if (!stopIds.includes(id)) continue;
      await pending.read();
      return ids;
    }
  }

  /** Starts the step of the token that the device has chosen last. */
  async #startStep(recorder: OpRecorder): Promise<PendingBytes> {
    const { transformer, onLayer } = this.#options;
    const { chunk, keys } = this.#plan(new Int32Array(1), { isRecorded: true });
    await transformer.writePlaces(chunk);
    await this.#attention.writeInputs(keys);
    const start = async (): Promise<void> => {
      await transformer.run(chunk);
      await this.#predict(0);
      await this.#shareToken();
    };
    if (this.#recorded !== undefined) {
      await this.#recorded.run();
      this.#tokens?.watchRecorded();
    } else {
      // The first one runs as it is, so that libraries set up what they need outside of a record.
      await start();
      this.#recorded = await recorder.record(start);
    }
    onLayer();
    this.#steps += 1;
    return recorder.fetch(this.#token);
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
      firstPosition: contextTokens + this.#steps,
      target: isQueryHost ? { cache, firstRow } : undefined,
      attention: this.#attention.step(keys),
      keysOnly: false,
      onLayer,
    };
    return { chunk, keys };
  }

  /** The query host chooses the most likely token behind a row of the last step. */
  async #predict(row: number): Promise<void> {
    if (!this.#isQueryHost) return;
    const { transformer, device } = this.#options;
    await argmax(device, { out: this.#token, logits: await transformer.logits(row) });
  }

  /** On the device: all hosts' next step finds the token that the query host has chosen. */
  async #shareToken(): Promise<void> {
    await this.#tokens?.broadcastRegion(this.#token, { root: this.#options.layout.queryHost });
  }

  async #largest(row: number, count: number): Promise<(readonly [number, number])[]> {
    if (!this.#isQueryHost || count === 0) return [];
    const { transformer, device } = this.#options;
    return await largest(device, { logits: await transformer.logits(row), count });
  }

  /** The chosen token: all ranks learn it. */
  async #readToken(): Promise<number> {
    const { collective, layout } = this.#options;
    const bytes = new Uint8Array(await this.#token.toBytes());
    await collective.broadcast(bytes, { root: layout.queryHost });
    return readToken(bytes);
  }

  [Symbol.dispose](): void {
    this.#recorded?.[Symbol.dispose]();
    this.#attention[Symbol.dispose]();
    if (this.#recorder === undefined) this.#token[Symbol.dispose]();
    for (const mean of this.#anchorMeans) mean[Symbol.dispose]();
  }
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

async function largest(
  device: Device,
  options: { logits: Tensor; count: number },
): Promise<[number, number][]> {
  const { logits } = options;
  const size = logits.size;
  if (device.kind !== "cpu" && options.count > DEVICE_TOP_K) {
    return sortedLogits(await logits.toFloats()).slice(0, options.count);
  }
  const shape = [Math.min(options.count, size)];
  using ids = Tensor.allocate(device, { dtype: "i32", shape, label: "largest logits' ids" });
  using values = Tensor.allocate(device, { dtype: "f32", shape, label: "largest logits" });
  await topK(device, { ids, values, logits: logits.reshape([size]) });
  const found = await values.toFloats();
  return [...await ids.toInts()].map((id, i) => [id, found[i] ?? NaN]);
}
