/**
 * The tables of `docs/performance.md` that are made of `bench/zen5-peers.jsonl`: a record for each engine
 * and round, of which medians count.
 *
 * @module
 */
import { median } from "../../commands/bench/timings.ts";
import { type BenchRecords, numberAt, type Where } from "./records.ts";
import { digits, seconds, type Table, times, whole } from "./table.ts";

const FILE = "zen5-peers";
const OWN = { engine: "StarX" } as const;
const PEER = { engine: "llama.cpp" } as const;
/** As records and rows call them. */
const MODELS = [["1b", "1B"], ["135m", "135M"]] as const;

function medianOf(records: BenchRecords, where: Where, path: string): number {
  return median(records.all(FILE, where).map((record) => numberAt(record, path)));
}

/** Tokens per second of both engines. */
export function zen5Decode(records: BenchRecords): Table {
  const row = (name: string, where: Where): string[] => {
    const own = { ...where, ...OWN };
    const rates = [own, { ...where, ...PEER }].map((one) =>
      medianOf(records, one, "tokens_per_s")
    ) as [number, number];
    const shares = records.all(FILE, own).map((record) =>
      numberAt(record, "gb_per_s") / numberAt(record, "read_gb_per_s")
    );
    return [
      name,
      ...rates.map((rate) => digits(rate, 3)),
      times(rates[0] / rates[1]),
      digits(medianOf(records, own, "gb_per_s"), 3),
      digits(medianOf(records, own, "read_gb_per_s"), 3),
      median(shares).toFixed(2),
      String(records.all(FILE, own).length),
    ];
  };
  const base = { what: "decode", ctx: 512 };
  return {
    head: [
      "tokens/s",
      ">StarX",
      ">llama.cpp",
      ">faster by",
      ">GB/s",
      ">loop, GB/s",
      ">of the loop",
      ">rounds",
    ],
    rows: MODELS.flatMap(([model, name]) => [
      row(`${name}, bf16`, { ...base, model, weights: "bf16", batch: 1 }),
      row(`${name}, int8`, { ...base, model, weights: "int8", batch: 1 }),
      row(`${name}, bf16, eight at once`, { ...base, model, weights: "bf16", batch: 8 }),
    ]),
  };
}

/** Prefill with weights of 16 and of 8 bits. */
export function zen5Prefill(records: BenchRecords): Table {
  const row = (n: number): string[] => {
    const [bf16, int8] = ["bf16", "int8"].map((weights) =>
      medianOf(records, { ...OWN, what: "prefill", model: "1b", weights, n }, "seconds.0")
    ) as [number, number];
    return [whole(n), seconds(bf16), seconds(int8), times(bf16 / int8)];
  };
  return {
    head: ["1B, prefill", ">bf16, s", ">int8, s", ">faster by"],
    rows: [row(512), row(2048)],
  };
}

/** Tokens after a long context by what keys and values are rounded to. */
export function zen5Caches(records: BenchRecords): Table {
  const row = (cache: string): string[] => {
    const rate = medianOf(records, { ...OWN, ctx: 8192, cache }, "tokens_per_s");
    return [cache, digits(rate, 3), (1000 / rate).toFixed(1)];
  };
  return {
    head: ["135M after 8,192, `--cache`", ">tokens/s", ">ms a token"],
    rows: [row("bf16"), row("int8"), row("fp8")],
  };
}
