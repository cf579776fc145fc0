/**
 * Star Attention and the ring on many ranks, on paper: prints the tables of `docs/scaling.md` from the rates that
 * were measured on one GPU. `deno run scripts/scaling_model.ts`
 *
 * Each rank is one H100 with the whole of an 8B Llama. Phase 1 has no exchange (arXiv 2411.17116,
 * section 2), or rank 0 sends the anchor's keys and values; phase 2 has one all-gather per layer. The
 * ring gathers the keys and values of each layer in phase 1.
 *
 * @module
 */
import { modelShape } from "../lib/model/shapes.ts";
import { invariant } from "../lib/errors.ts";

/** Measured on one H100 at commit 8d2aaf4; see docs/performance.md. */
const MEASURED = {
  /** Products and the rest of star at 131,072 tokens, 2.519 + 0.332 s. */
  linearSecondsPerToken: 2.851 / 131_072,
  /** Attention of the same run: 11 squares of a block's tokens, 2.541 s. */
  attentionSecondsPerPair: 2.541 / (11 * 16_384 ** 2),
  /** A token's step without a context, and what a token of context adds: 8,192 and 131,072. */
  decodeSeconds: 6.709e-3 - 8_192 * (11.981e-3 - 6.709e-3) / (131_072 - 8_192),
  decodeSecondsPerToken: (11.981e-3 - 6.709e-3) / (131_072 - 8_192),
  /** Memory of the GPU, and what the weights take. */
  memoryBytes: 79.2 * 2 ** 30,
  weightBytes: 16.06e9,
} as const;

/** Not measured: what an exchange costs to begin, and a link's rate. */
const ASSUMED = { exchangeSeconds: 30e-6, linkBytesPerSecond: 50e9 } as const;

const BLOCK_TOKENS = 16_384;
const CONTEXTS = [131_072, 2 ** 20, 10 * 2 ** 20] as const;
const RANKS = [1, 2, 8, 64, 1024] as const;
/** Of the ring, which attends to everything: longer contexts take hours. */
const RING_CONTEXTS = [131_072, 2 ** 20] as const;
/** Of the ring: on more ranks pieces would be shorter than a chunk of queries. */
const RING_RANKS = [1, 2, 8, 64] as const;

interface Prediction {
  /** Every rank but 0 encodes the anchor. */
  readonly phase1Seconds: number;
  /** Rank 0 sends it; undefined with one rank. */
  readonly sentSeconds: number | undefined;
  readonly stepSeconds: number;
  /** What a rank receives per token. */
  readonly receivedBytes: number;
  readonly fits: boolean;
}

/** One context of `tokens` on `ranks` ranks. */
function predict(options: { tokens: number; ranks: number }): Prediction {
  const { tokens, ranks } = options;
  const config = modelShape("llama-3.1-8b");
  invariant(config !== undefined, "the shape is in the list");
  const { layerCount, queryHeads, kvHeads, headDim } = config;
  const blocks = Math.ceil(tokens / BLOCK_TOKENS);
  const working = Math.min(ranks, blocks);
  const share = Math.ceil(blocks / working);
  // Every rank but the first encodes the anchor besides its blocks; with one rank it is block 0.
  const passes = share + (working > 1 ? 1 : 0);
  const squares = (working > 1 ? share * 1.5 : (share - 1) * 1.5) + 0.5;
  const encode = (blocks: number, squares: number) =>
    blocks * BLOCK_TOKENS * MEASURED.linearSecondsPerToken +
    squares * BLOCK_TOKENS ** 2 * MEASURED.attentionSecondsPerPair;
  const phase1Seconds = encode(passes, squares);
  const tokenBytes = layerCount * 2 * kvHeads * headDim * 2;
  // The others wait for the anchor's first layer, and all for each layer's transfer.
  const sentSeconds = working === 1
    ? undefined
    : encode(share, share * 1.5) + encode(1, 0.5) / layerCount +
      BLOCK_TOKENS * tokenBytes / ASSUMED.linkBytesPerSecond;
  const local = share * BLOCK_TOKENS;
  // A rank's part: an output row and a log-sum-exp for every head, in f32.
  const partBytes = 4 * queryHeads * (headDim + 1);
  const receivedBytes = layerCount * (working - 1) * partBytes;
  const exchange = working === 1
    ? 0
    : layerCount * ASSUMED.exchangeSeconds + receivedBytes / ASSUMED.linkBytesPerSecond;
  const cacheBytes = local * tokenBytes;
  return {
    phase1Seconds,
    sentSeconds,
    stepSeconds: MEASURED.decodeSeconds + local * MEASURED.decodeSecondsPerToken + exchange,
    receivedBytes,
    fits: cacheBytes + MEASURED.weightBytes < MEASURED.memoryBytes,
  };
}

/** Seconds of the ring's phase 1 on its slowest rank. */
interface RingPrediction {
  /** Rank r of H has the r-th of H parts: the last one has most to attend to. */
  readonly contiguousSeconds: number;
  /** Rank r has pieces r and 2 H - 1 - r of 2 H: all have the same. */
  readonly zigZagSeconds: number;
}

/** One context of `tokens` on `ranks` ranks, in equal parts. */
function predictRing(options: { tokens: number; ranks: number }): RingPrediction {
  const { tokens, ranks } = options;
  const config = modelShape("llama-3.1-8b");
  invariant(config !== undefined, "the shape is in the list");
  const { layerCount, kvHeads, headDim } = config;
  const pairs = tokens ** 2 / 2;
  const linear = tokens / ranks * MEASURED.linearSecondsPerToken;
  const tokenBytes = layerCount * 2 * kvHeads * headDim * 2;
  // Keys, then values; a rank waits for them in each layer.
  const exchange = ranks === 1 ? 0 : layerCount * 2 * ASSUMED.exchangeSeconds +
    tokens * (ranks - 1) / ranks * tokenBytes / ASSUMED.linkBytesPerSecond;
  const attention = (share: number) => pairs * share * MEASURED.attentionSecondsPerPair;
  return {
    contiguousSeconds: linear + exchange + attention((2 * ranks - 1) / ranks ** 2),
    zigZagSeconds: linear + exchange + attention(1 / ranks),
  };
}

const lines = [
  "| context | ranks | phase 1, s | anchor sent, s | a token, ms | received a token, MB | fits |",
  "| --: | --: | --: | --: | --: | --: | --- |",
];
for (const tokens of CONTEXTS) {
  for (const ranks of RANKS) {
    const { phase1Seconds, sentSeconds, ...phase2 } = predict({ tokens, ranks });
    const { stepSeconds, receivedBytes, fits } = phase2;
    lines.push(
      `| ${tokens.toLocaleString("en")} | ${ranks} | ${phase1Seconds.toFixed(2)} | ` +
        `${sentSeconds?.toFixed(2) ?? ""} | ` +
        `${(stepSeconds * 1e3).toFixed(1)} | ${(receivedBytes / 1e6).toFixed(1)} | ` +
        `${fits ? "yes" : "no"} |`,
    );
  }
}
lines.push(
  "",
  "| context | ranks | contiguous parts, s | zig-zag, s |",
  "| --: | --: | --: | --: |",
);
for (const tokens of RING_CONTEXTS) {
  for (const ranks of RING_RANKS) {
    const { contiguousSeconds, zigZagSeconds } = predictRing({ tokens, ranks });
    lines.push(
      `| ${tokens.toLocaleString("en")} | ${ranks} | ${contiguousSeconds.toFixed(2)} | ` +
        `${zigZagSeconds.toFixed(2)} |`,
    );
  }
}
await Deno.stdout.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
