/**
 * Runs a model with windows as it is, and with the keys of all tokens kept: everything must be the
 * same, bit for bit, and the keys take less memory.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import type { Device, DeviceMemory } from "../../lib/device/device.ts";
import { stagesOn } from "../../lib/device/stages.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import { type CacheKind, PRECISIONS } from "../../lib/model/precision.ts";
import { randomWeights } from "../../lib/model/random_weights.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import type { Collective, DeviceExchange } from "../../lib/parallel/collective.ts";
import { exchangeOn } from "../../lib/parallel/device_exchange.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import { ShmCollective, ShmGroup } from "../../lib/parallel/shm.ts";
import type { Answer } from "../../lib/star/decoder.ts";
import type { EncodedContext } from "../../lib/star/encode.ts";
import type { Sequence } from "../../lib/star/sequence.ts";
import { assert, assertEquals } from "./assert.ts";
import { MemoryMeter } from "./memory_meter.ts";

const small = modelShape("small");
const [layer] = small?.layers ?? [];
assert(small !== undefined && layer !== undefined);

/** Layers with windows of two sizes, and one without. */
export const MIXED_WINDOWS: ModelShape = {
  ...small,
  layerCount: 4,
  layers: [150, undefined, 300, 150].map((window, i) => ({
    ...small.layers[i % small.layerCount] ?? layer,
    ...(window === undefined ? {} : { window }),
  })),
};

/** What is run. */
export interface KeptRun {
  readonly config: ModelShape;
  readonly options: PlanOptions;
  readonly ranks: number;
  /** Of keys and values. @default {"bf16"} */
  readonly cache?: CacheKind;
  readonly open: (rank: number) => Promise<Device>;
  /** Tokens of each context, encoded and answered together. */
  readonly lengths: readonly number[];
  readonly chunkTokens: number;
  readonly queryTokens: number;
  readonly answerTokens: number;
  /** Whether contexts are asked again, and copied while they are asked. */
  readonly isAskedAgain?: boolean;
  /** Whether ranks are told that their exchanges are ops, so that rank 0 sends the anchor. */
  readonly sendsAnchor?: boolean;
}

/** What came of it. */
export interface KeptResult {
  /** Of each rank: answers, scores of queries, and the last keys and values of all layers. */
  readonly ranks: readonly (readonly unknown[])[];
  /** Bytes of keys and values at most, of each rank. */
  readonly bytes: readonly number[];
}

/** Runs it with a model of random weights. */
export async function runKept(run: KeptRun, options: { keepsAll: boolean }): Promise<KeptResult> {
  const before = Deno.env.get("STARX_DROP_KEYS");
  if (options.keepsAll) Deno.env.set("STARX_DROP_KEYS", "off");
  else Deno.env.delete("STARX_DROP_KEYS");
  const slotBytes = 1 << 20;
  using group = run.ranks === 1 ? undefined : new ShmGroup({ size: run.ranks, slotBytes });
  const bytes: number[] = [];
  try {
    const ranks = await Promise.all(Array.from({ length: run.ranks }, async (_, rank) => {
      const place = { rank, size: run.ranks, slotBytes, timeoutMs: 60_000 };
      using collective = group === undefined
        ? new SelfCollective()
        : new ShmCollective(group.path, place);
      using device = await run.open(rank);
      const meter = meterKeys(device, { canRecord: run.sendsAnchor !== true });
      const connected = run.sendsAnchor === true ? sendingCollective(collective) : collective;
      const result = await runRank(meter.device, { run, collective: connected });
      bytes[rank] = meter.peakBytes;
      return result;
    }));
    return { ranks, bytes };
  } finally {
    if (before === undefined) Deno.env.delete("STARX_DROP_KEYS");
    else Deno.env.set("STARX_DROP_KEYS", before);
  }
}

/** The same ranks; each exchange of device memory is waited for, and yet called an op. */
export function sendingCollective(collective: Collective): Collective {
  const exchange = (device: Device): DeviceExchange => {
    const own = exchangeOn(collective, device);
    return {
      size: own.size,
      canBeRecorded: true,
      allGatherRegions: (part, out, options) => own.allGatherRegions(part, out, options),
      broadcastRegion: (data, options) => own.broadcastRegion(data, options),
      watchRecorded: () => {},
    };
  };
  return new Proxy(collective, {
    get(target, name) {
      if (name === "exchangeOn") return exchange;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Counts the memory of keys and values; where it is the host's, what lies before must not be read. */
function meterKeys(device: Device, options: { canRecord: boolean }): MemoryMeter {
  return new MemoryMeter(device, {
    ...options,
    isCounted: (label) => /^(?:keys|values) of layer /.test(label),
    allocateCounted: device.hasHostMemory
      ? (byteLength, label) => new GuardedMemory(byteLength, label)
      : undefined,
  });
}

const libc = Deno.dlopen("libc.so.6", {
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "pointer" },
  mprotect: { parameters: ["pointer", "usize", "i32"], result: "i32" },
  munmap: { parameters: ["pointer", "usize"], result: "i32" },
});
const [PROT_NONE, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS] = [0, 3, 0x22];
/** More than the tokens of a test take. */
const GUARD_BYTES = 1 << 22;

/** Zeros; whoever reads up to 4 MiB before them ends the process. */
class GuardedMemory implements DeviceMemory {
  readonly label: string;
  readonly byteLength: number;
  readonly writable = true;
  readonly #all: Deno.PointerValue;
  readonly #own: Deno.PointerObject;
  #disposed = false;

  constructor(byteLength: number, label: string) {
    this.label = label;
    this.byteLength = byteLength;
    const all = GUARD_BYTES + byteLength;
    this.#all = libc.symbols.mmap(0n, BigInt(all), PROT_NONE, MAP_PRIVATE_ANONYMOUS, -1, 0n);
    const own = Deno.UnsafePointer.create(this.#begin + BigInt(GUARD_BYTES));
    assert(own !== null);
    assert(libc.symbols.mprotect(own, BigInt(byteLength), PROT_READ_WRITE) === 0);
    this.#own = own;
  }

  get #begin(): bigint {
    return Deno.UnsafePointer.value(this.#all);
  }

  get address(): bigint {
    return this.#begin + BigInt(GUARD_BYTES);
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(new Deno.UnsafePointerView(this.#own).getArrayBuffer(this.byteLength));
  }

  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    libc.symbols.munmap(this.#all, BigInt(GUARD_BYTES + this.byteLength));
  }
}

function idsOf(length: number, first: number): Int32Array {
  return Int32Array.from({ length }, (_, t) => (31 * t * t + 17 * t + 7 * first) % 4096);
}

async function runRank(
  device: Device,
  { run, collective }: { run: KeptRun; collective: Collective },
): Promise<readonly unknown[]> {
  const { config, lengths, chunkTokens, queryTokens, answerTokens, isAskedAgain = false } = run;
  const precision = { ...PRECISIONS.bf16, cache: run.cache ?? "bf16" };
  const stages = stagesOn([device], config);
  using weights = await randomWeights(stages, config);
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan: checkPlan(run.options), precision },
    ...{ chunkTokens, batchSize: 2 * lengths.length },
  });
  using owned = new DisposableStack();
  const call = { collective, onProgress: () => {}, onLayer: () => {}, onToken: () => {} };
  const room = queryTokens + answerTokens;
  const ask = async (encoded: EncodedContext, first: number): Promise<Answer> => {
    const asked = { sample: "kept", queryIds: idsOf(queryTokens, first), tokenScores: 2 };
    const rest = { tokensToGenerate: answerTokens, stopIds: [], topLogits: 16 };
    return await model.begin(encoded, { ...call, request: { ...asked, ...rest } });
  };
  const answers: Answer[] = [];
  const anchorPasses: number[] = [];
  for (const [i, length] of lengths.entries()) {
    const sizes = { room, others: lengths.length - 1 - i, isAskedOnce: !isAskedAgain };
    const encoded = owned.use(await model.encode(idsOf(length, i), { ...call, ...sizes }));
    anchorPasses.push(encoded.phase1.anchorPasses);
    answers.push(await ask(encoded, 100 + i));
    if (!isAskedAgain) continue;
    const copied = owned.use(await model.copy(encoded, { ...call, room }));
    answers.push(await ask(copied, 200 + i));
    await model.decode(answers.splice(0), { ...call, maxSteps: Infinity });
    answers.push(await ask(encoded, 200 + i));
  }
  await model.decode(answers, { ...call, maxSteps: Infinity });
  const results: unknown[] = [anchorPasses];
  for (const answer of answers) {
    const { ids, topLogits, scores, sequence } = answer;
    results.push({ ids: [...ids], topLogits, scores, keys: await lastKeys(sequence, config) });
  }
  return results;
}

/** A digest of the last tokens' keys and values of every layer: what the last steps computed. */
async function lastKeys(sequence: Sequence, config: ModelShape): Promise<readonly string[]> {
  const digests: string[] = [];
  if (!sequence.isQueryRank) return digests;
  for (let layer = 0; layer < config.layerCount; layer++) {
    const tokens = Math.min(140, sequence.keyCount);
    const { keys, values, scales, start } = sequence.rows.segment(layer, {
      start: sequence.keyCount - tokens,
      tokens,
    });
    for (const tensor of [keys, values, ...Object.values(scales ?? {})]) {
      const [heads = 0, rows = 0, headDim = 0] = tensor.shape;
      for (let head = 0; head < heads; head++) {
        const own = tensor.rows(head, 1).reshape([rows, headDim]).rows(start, tokens);
        const bytes = await own.toBytes();
        digests.push(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex());
      }
    }
  }
  return digests;
}

/** Blocks of Star Attention, and a selection, for them. */
export const KEPT_BLOCKS = { blockTokens: 640, anchorTokens: 256 } as const;
export const KEPT_SELECTION = { stride: 8, threshold: 0.8 } as const;

/** A batch of contexts, longer and shorter than the windows of its model. */
export const KEPT_SIZES = {
  config: MIXED_WINDOWS,
  lengths: [2900, 700, 2001],
  chunkTokens: 256,
  queryTokens: 300,
  answerTokens: 12,
} as const;

/** Runs it both ways. @returns The share of the keys of layers with windows that is kept. */
export async function checkSame(run: KeptRun): Promise<number> {
  const all = await runKept(run, { keepsAll: true });
  const kept = await runKept(run, { keepsAll: false });
  assertEquals(kept.ranks, all.ranks);
  const { layers, layerCount } = run.config;
  const windowed = layers.filter(({ window = 0 }) => window > 0).length;
  const [most = 0, least = 0] = [all, kept].map(({ bytes }) => Math.max(...bytes));
  const ofWindows = most * windowed / layerCount;
  return (least - (most - ofWindows)) / ofWindows;
}
