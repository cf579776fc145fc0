import {
  layersSeconds,
  ringSeconds,
  sentSeconds,
  starSeconds,
  tokenSeconds,
} from "../../scripts/scaling/model.ts";
import { H200 } from "../../scripts/scaling/machines.ts";
import { ASSUMED_LINK, type Rates, ratesOf } from "../../scripts/scaling/rates.ts";
import { SCALING_TABLES } from "../../scripts/scaling/tables.ts";
import { type BenchRecord, BenchRecords } from "../../scripts/performance/records.ts";
import { assertAlmostEquals, assertEquals } from "../helpers/assert.ts";

/** Rates that are easy to reckon with: a µs a token, a ns a pair, and exchanges that take no time. */
const RATES: Rates = {
  source: "made up",
  linearSecondsPerToken: 1e-6,
  attentionSecondsPerPair: 1e-9,
  decodeSeconds: 1e-3,
  decodeSecondsPerToken: 1e-9,
  stepExchange: new Map(),
  link: { startSeconds: 0, bytesPerSecond: Infinity },
};
const BLOCK = 16_384;
const PAIRS = BLOCK ** 2 * 1e-9;

Deno.test("the model counts the tokens and pairs of the slowest rank", () => {
  const question = { tokens: 8 * BLOCK, blockTokens: BLOCK };
  const star = (ranks: number) => starSeconds(RATES, { ...question, ranks });
  assertAlmostEquals(star(1), 8 * BLOCK * 1e-6 + 11 * PAIRS);
  assertAlmostEquals(star(4), 3 * BLOCK * 1e-6 + 3.5 * PAIRS);
  assertAlmostEquals(star(16), star(8));
  const ring = ringSeconds(RATES, { tokens: 8 * BLOCK, ranks: 4 });
  assertAlmostEquals(ring.zigZag, 2 * BLOCK * 1e-6 + 8 * PAIRS);
  assertAlmostEquals(ring.contiguous, 2 * BLOCK * 1e-6 + 14 * PAIRS);
});

Deno.test("the anchor is sent where no rank has fewer blocks than rank 0, and is waited for", () => {
  const sent = (ranks: number, lanes?: number) =>
    sentSeconds(RATES, { tokens: 8 * BLOCK, blockTokens: BLOCK, ranks }, lanes);
  assertEquals([sent(1), sent(7)], [undefined, undefined]);
  const own = BLOCK * 1e-6 + 1.5 * PAIRS;
  const anchor = BLOCK * 1e-6 + 0.5 * PAIRS;
  assertAlmostEquals(sent(8) ?? NaN, own + anchor / 32);
  // With one lane the first of two chunks goes through the whole model before.
  const first = BLOCK / 2 * 1e-6 + PAIRS / 8;
  assertAlmostEquals(sent(8, 1) ?? NaN, own + first + (anchor - first) / 32);
});

Deno.test("layers on several GPUs are a pipeline of chunks", () => {
  const tokens = 4 * BLOCK;
  const alone = layersSeconds(RATES, { tokens, gpus: 1 });
  assertAlmostEquals(alone, ringSeconds(RATES, { tokens, ranks: 1 }).zigZag);
  const chunk = BLOCK / 2;
  const last = chunk * 1e-6 + chunk * (tokens - chunk / 2) * 1e-9;
  // The last chunk is the dearest: it goes through each GPU behind all others.
  assertAlmostEquals(layersSeconds(RATES, { tokens, gpus: 4 }), alone / 4 + last * 3 / 4);
  const star = { tokens, blockTokens: BLOCK, gpus: 1 };
  assertAlmostEquals(layersSeconds(RATES, star), starSeconds(RATES, { ...star, ranks: 1 }));
});

Deno.test("a token's exchange is what was measured, else what is assumed", () => {
  const question = { tokens: 8 * BLOCK, blockTokens: BLOCK, ranks: 8 };
  const seconds = (rates: Partial<Rates>) => tokenSeconds({ ...RATES, ...rates }, question);
  const base = 1e-3 + BLOCK * 1e-9;
  assertAlmostEquals(seconds({ stepExchange: new Map([[8, 1e-5]]) }), base + 32 * 1e-5);
  // Measured among two: as often again as ranks double.
  const two = { stepExchange: new Map([[2, 1e-5]]), link: { ...RATES.link, startSeconds: 1e-5 } };
  assertAlmostEquals(seconds(two), base + 32 * 3e-5);
  const { startSeconds, bytesPerSecond } = ASSUMED_LINK;
  const assumed = startSeconds + 7 * 4 * 32 * 129 / bytesPerSecond;
  assertAlmostEquals(seconds({ link: ASSUMED_LINK }), base + 32 * assumed);
});

function record(values: Readonly<Record<string, unknown>>, line: number): BenchRecord {
  const device = "cuda:0 NVIDIA H200 (sm_90)";
  return { file: "bench/made up", line, value: { commit: "abc", device, ...values } };
}

/** A bench's record with one prefill and one token. */
function bench(part: string, seconds: number, ms: number, ctx = 131_072): unknown {
  const costs = { matmul_s: 4, rest_s: 1, attention_s: 11 };
  const decode = [{ ctx, tokens_per_s: 1000 / ms }];
  return { part, prefill: [{ n: ctx, seconds: [seconds, seconds], ...costs }], decode };
}

Deno.test("a table shows what was measured beside the prediction, and what was refused", () => {
  const times = [{ us: 10, bytes: 1 }, { us: 1, bytes: 1 }, { us: 1000, bytes: 1e8 }];
  const refused = "Cannot run 1048608 tokens on cuda:0";
  const two = [
    bench("star, 1", 16, 12),
    bench("star, 2", 8, 8),
    bench("decode, 1", 1, 6, 8192),
    { part: "exchange, 2", what: "exchange", times },
    { part: "star million, 1", refused },
  ];
  const eight = [bench("star, 1", 20, 12), bench("star, 8", 2, 8)];
  const lines = (all: readonly unknown[]) => all.map((one, i) => record(one as never, i));
  const records = new BenchRecords(
    new Map([["h200x2-hosts", lines(two)], ["h200x8-hosts", lines(eight)]]),
  );
  const rates = ratesOf(records, H200.rates);
  assertAlmostEquals(rates?.stepExchange.get(2) ?? NaN, 1e-5);
  assertAlmostEquals((rates?.link.bytesPerSecond ?? NaN) / 1e11, 1);
  const rows = SCALING_TABLES["scaling-h200"]?.(records).rows ?? [];
  const row = (what: string, gpus: number) =>
    rows.find((row) => row[0] === what && row[1] === String(gpus))?.slice(2);
  assertEquals(row("star, 131,072", 1), ["16.00 s", "16.00 s", "+0.0 %", "", ""]);
  assertEquals(row("star, 131,072", 2)?.at(-1), "2.00 x");
  // Against one GPU of the same machine.
  assertEquals(row("star, 131,072", 8)?.at(-1), "10.00 x");
  assertEquals(row("star, 131,072", 4)?.slice(1), ["", "", row("star, 131,072", 4)?.at(3), ""]);
  assertEquals(row("star, 1,048,576", 1)?.slice(1), ["refused", "", "", ""]);
});
