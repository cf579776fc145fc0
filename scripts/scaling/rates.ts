/**
 * What the model of `docs/scaling.md` works with: rates of one GPU and of its links, out of records
 * of `bench/`.
 *
 * @module
 */
import { median } from "../../commands/bench/timings.ts";
import { invariant } from "../../lib/errors.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import {
  type BenchRecord,
  type BenchRecords,
  numberAt,
  numbersAt,
  textAt,
  type Where,
} from "../performance/records.ts";

/** Records of one GPU, and of exchanges among several of its kind. */
export interface RateSource {
  /** File of `bench/` without its ending. */
  readonly file: string;
  /** Star on one GPU, whose ops were timed: 131,072 tokens in blocks of 16,384, and a token behind. */
  readonly star: Where;
  /** A token after a short context. */
  readonly decode: Where;
  /** What exchanges among so many ranks took; undefined where it was not measured. */
  readonly exchange?: ((ranks: number) => Where) | undefined;
}

/** Seconds of an exchange that begins, and a link's rate. */
export interface Link {
  readonly startSeconds: number;
  readonly bytesPerSecond: number;
}

/** What one GPU and its links do. */
export interface Rates {
  /** For people: GPU, file and commit. */
  readonly source: string;
  /** Products and all that goes with the number of tokens. */
  readonly linearSecondsPerToken: number;
  /** Attention of all layers, for a pair of query and key. */
  readonly attentionSecondsPerPair: number;
  /** A token's step without a context. */
  readonly decodeSeconds: number;
  /** What a token of context adds to a step. */
  readonly decodeSecondsPerToken: number;
  /** The all-gather of a step's layer, of so many ranks, where it was measured. */
  readonly stepExchange: ReadonlyMap<number, number>;
  /** The anchor's broadcast and the ring's all-gathers. */
  readonly link: Link;
}

/** Where nothing was measured: an exchange's start, and a link's rate. */
export const ASSUMED_LINK: Link = { startSeconds: 30e-6, bytesPerSecond: 50e9 };

/** Blocks and anchors of the run that the rates come from; one rank alone has 11 squares of them. */
export const BASE = { tokens: 131_072, blockTokens: 16_384 } as const;

/** The largest number of ranks whose exchanges are looked for. */
const MOST_RANKS = 16;

/** The shape that all records are of. */
export function shape(): ModelShape {
  const config = modelShape("llama-3.1-8b");
  invariant(config !== undefined, "the shape is in the list");
  return config;
}

/**
 * The rates; undefined if the records of one GPU are not there.
 *
 * @throws {FileError} If a record has no number where one must be.
 */
export function ratesOf(records: BenchRecords, source: RateSource): Rates | undefined {
  const { file } = source;
  const star = records.find(file, source.star);
  const decode = records.find(file, source.decode);
  if (star === undefined || decode === undefined) return undefined;
  const { tokens, blockTokens } = BASE;
  const linear = numberAt(star, "prefill.0.matmul_s") + numberAt(star, "prefill.0.rest_s");
  const blocks = tokens / blockTokens;
  const squares = 0.5 + 1.5 * (blocks - 1);
  const short = stepSeconds(decode);
  const [from, to] = [numberAt(decode, "decode.0.ctx"), numberAt(star, "decode.0.ctx")];
  const perToken = (stepSeconds(star) - short) / (to - from);
  const device = textAt(star, "device").replace(/^cuda:0 | \(.*$/g, "");
  return {
    source: `${device}, \`bench/${file}.jsonl\`, commit \`${textAt(star, "commit")}\``,
    linearSecondsPerToken: linear / tokens,
    attentionSecondsPerPair: numberAt(star, "prefill.0.attention_s") /
      (squares * blockTokens ** 2),
    decodeSeconds: short - from * perToken,
    decodeSecondsPerToken: perToken,
    ...exchangesOf(records, source),
  };
}

/** What a token's step took, in seconds. */
export function stepSeconds(record: BenchRecord): number {
  return 1 / numberAt(record, "decode.0.tokens_per_s");
}

/** The median of a bench's prefills, in seconds. */
export function prefillSeconds(record: BenchRecord): number {
  return median(numbersAt(record, "prefill.0.seconds"));
}

function exchangesOf(
  records: BenchRecords,
  { file, exchange }: RateSource,
): Pick<Rates, "stepExchange" | "link"> {
  const stepExchange = new Map<number, number>();
  let link = ASSUMED_LINK;
  for (let ranks = MOST_RANKS; ranks > 1; ranks--) {
    const record = exchange && records.find(file, exchange(ranks));
    if (record === undefined) continue;
    stepExchange.set(ranks, numberAt(record, "times.0.us") * 1e-6);
    const seconds = numberAt(record, "times.2.us") * 1e-6;
    const received = numberAt(record, "times.2.bytes") * (ranks - 1);
    // The start is within: what is large enough to matter is far longer.
    link = {
      startSeconds: numberAt(record, "times.0.us") * 1e-6,
      bytesPerSecond: received / seconds,
    };
  }
  return { stepExchange, link };
}
