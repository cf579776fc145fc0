/**
 * Star Attention, the ring, and layers over several GPUs, on paper: what a run takes by the rates of
 * one GPU. Each rank has a GPU and the whole of an 8B Llama.
 *
 * Phase 1 of Star Attention has no exchange (arXiv 2411.17116, section 2), or rank 0 sends the
 * anchor's keys and values; phase 2 has one all-gather per layer. The ring gathers the keys and values
 * of each layer in phase 1. Layers over several GPUs are a pipeline of chunks.
 *
 * @module
 */
import { DEVICE_TRAITS } from "../../lib/device/device.ts";
import { splitLayers } from "../../lib/device/stages.ts";
import { MOST_LANES } from "../../lib/star/anchor_stream.ts";
import { type Rates, shape } from "./rates.ts";

/** Memory of an H100, what the weights take, and a token's keys and values. */
export const MEMORY = { gpuBytes: 79.2 * 2 ** 30, weightBytes: 16.06e9 } as const;

/** A context in blocks, and its anchor as long as they are. */
export interface StarQuestion {
  readonly tokens: number;
  readonly blockTokens: number;
  readonly ranks: number;
}

/** Chunks of a prompt on a GPU. */
const CHUNK_TOKENS = DEVICE_TRAITS.cuda.chunkTokens;

/** A run of queries, and the keys before it that they see. */
interface Chunk {
  readonly tokens: number;
  readonly before: number;
}

/** Bytes of a token's keys and values, of all layers. */
export function tokenBytes(): number {
  const { layerCount, kvHeads, headDim } = shape();
  return layerCount * 2 * kvHeads * headDim * 2;
}

/** How many blocks a rank has at most, and how many ranks have any. */
function deal({ tokens, blockTokens, ranks }: StarQuestion) {
  const blocks = Math.ceil(tokens / blockTokens);
  const working = Math.min(ranks, blocks);
  return {
    working,
    share: Math.ceil(blocks / working),
    second: Math.floor((blocks - 2) / working) + 1,
  };
}

/** What a rank holds at most of the context. */
export function localTokens(question: StarQuestion): number {
  return deal(question).share * question.blockTokens;
}

/** Seconds of phase 1 where every rank but 0 encodes the anchor. */
export function starSeconds(rates: Rates, question: StarQuestion): number {
  const { blockTokens } = question;
  const { working, share } = deal(question);
  // Every rank but the first encodes the anchor besides its blocks; with one rank it is block 0.
  const passes = share + (working > 1 ? 1 : 0);
  const squares = (working > 1 ? share * 1.5 : (share - 1) * 1.5) + 0.5;
  return passes * blockTokens * rates.linearSecondsPerToken +
    squares * blockTokens ** 2 * rates.attentionSecondsPerPair;
}

/**
 * Seconds of phase 1 where rank 0 sends the anchor; undefined where it does not, as it has one block
 * more than the next rank, or nobody else has any.
 *
 * @param lanes Chunks of the anchor that go through the layers side by side.
 */
export function sentSeconds(
  rates: Rates,
  question: StarQuestion,
  lanes: number = MOST_LANES,
): number | undefined {
  const { blockTokens } = question;
  const { working, share, second } = deal(question);
  if (working === 1 || second < share) return undefined;
  const anchor = chunksOf(blockTokens);
  const alone = anchor.slice(0, Math.max(0, anchor.length - lanes));
  const together = anchor.slice(alone.length);
  const { layerCount } = shape();
  const sum = (chunks: readonly Chunk[]) =>
    chunks.reduce((seconds, chunk) => seconds + chunkSeconds(rates, chunk), 0);
  // The others wait for the chunks that go ahead, and for a layer of those side by side.
  const wait = sum(alone) + sum(together) / layerCount;
  const own = share * blockTokens * rates.linearSecondsPerToken +
    1.5 * share * blockTokens ** 2 * rates.attentionSecondsPerPair;
  return wait + own + blockTokens * tokenBytes() / rates.link.bytesPerSecond;
}

/** Seconds of a token after a context that is dealt to ranks, or that one has. */
export function tokenSeconds(rates: Rates, question: StarQuestion): number {
  const { layerCount } = shape();
  const { working } = deal(question);
  const { ranks } = question;
  const { startSeconds, bytesPerSecond } = rates.link;
  // What two ranks took is taken again for each doubling; what is assumed is so for any number.
  const start = startSeconds * (rates.stepExchange.size === 0 ? 1 : Math.log2(ranks));
  const exchange = ranks === 1
    ? 0
    : rates.stepExchange.get(ranks) ?? start + (working - 1) * partBytes() / bytesPerSecond;
  return rates.decodeSeconds + localTokens(question) * rates.decodeSecondsPerToken +
    layerCount * exchange;
}

/** A rank's part of a layer's exchange: an output row and a log-sum-exp for every head, in f32. */
export function partBytes(): number {
  const { queryHeads, headDim } = shape();
  return 4 * queryHeads * (headDim + 1);
}

/** What a rank receives for a token. */
export function receivedBytes(question: StarQuestion): number {
  return shape().layerCount * (deal(question).working - 1) * partBytes();
}

/** Seconds of the ring's phase 1 on its slowest rank. */
export interface RingSeconds {
  /** Rank r of H has the r-th of H parts: the last one has most to attend to. */
  readonly contiguous: number;
  /** Rank r has pieces r and 2 H - 1 - r of 2 H: all have the same. With one rank it is dense. */
  readonly zigZag: number;
}

/** One context of `tokens` on `ranks` ranks, in equal parts. */
export function ringSeconds(
  rates: Rates,
  { tokens, ranks }: { tokens: number; ranks: number },
): RingSeconds {
  const linear = tokens / ranks * rates.linearSecondsPerToken;
  const { startSeconds, bytesPerSecond } = rates.link;
  // Keys, then values; a rank waits for them in each layer.
  const exchange = ranks === 1 ? 0 : shape().layerCount * 2 * startSeconds +
    tokens * (ranks - 1) / ranks * tokenBytes() / bytesPerSecond;
  const attention = (share: number) => tokens ** 2 / 2 * share * rates.attentionSecondsPerPair;
  return {
    contiguous: linear + exchange + attention((2 * ranks - 1) / ranks ** 2),
    zigZag: linear + exchange + attention(1 / ranks),
  };
}

/**
 * Seconds of a prefill in one process whose layers lie on several GPUs: a chunk goes to the next GPU
 * when it is through the layers of one.
 *
 * @param blockTokens Of star; without it it is dense.
 */
export function layersSeconds(
  rates: Rates,
  { tokens, gpus, blockTokens = tokens }: { tokens: number; gpus: number; blockTokens?: number },
): number {
  const { layerCount, hiddenSize } = shape();
  const ranges = splitLayers(layerCount, { count: gpus });
  const ends = ranges.map(() => 0);
  for (let start = 0; start < tokens; start += blockTokens) {
    for (const chunk of chunksOf(Math.min(blockTokens, tokens - start))) {
      const before = chunk.before + (start === 0 ? 0 : blockTokens);
      const seconds = chunkSeconds(rates, { ...chunk, before });
      const border = 4 * chunk.tokens * hiddenSize / rates.link.bytesPerSecond;
      let there = 0;
      for (const [gpu, { firstLayer, endLayer }] of ranges.entries()) {
        const begin = Math.max(there, ends[gpu] ?? 0);
        ends[gpu] = begin + seconds * (endLayer - firstLayer) / layerCount;
        there = (ends[gpu] ?? 0) + border;
      }
    }
  }
  return ends.at(-1) ?? 0;
}

function chunksOf(tokens: number): Chunk[] {
  const chunks: Chunk[] = [];
  for (let before = 0; before < tokens; before += CHUNK_TOKENS) {
    chunks.push({ tokens: Math.min(CHUNK_TOKENS, tokens - before), before });
  }
  return chunks;
}

function chunkSeconds(rates: Rates, { tokens, before }: Chunk): number {
  return tokens * rates.linearSecondsPerToken +
    tokens * (before + tokens / 2) * rates.attentionSecondsPerPair;
}
