/**
 * The tables of `docs/performance.md` that set two engines side by side on a CPU: `bench/zen5-peers.jsonl`
 * and `bench/amx-peers.jsonl` have a record for each engine and round, `bench/amx-alone.jsonl` for each
 * library and round, of which medians count.
 *
 * @module
 */
import { median } from "../../commands/bench/timings.ts";
import { type BenchRecord, type BenchRecords, numberAt, type Where } from "./records.ts";
import { digits, seconds, type Table, times, whole } from "./table.ts";

/** A file of records. */
type PeersFile = "zen5-peers" | "amx-peers" | "amx-alone";

const OWN = { engine: "StarX" } as const;
const PEER = { engine: "llama.cpp" } as const;
/** As records and rows call them. */
const MODELS = [["1b", "1B"], ["135m", "135M"]] as const;

/** The median of a figure over the records that have some values. */
type MedianOf = (where: Where, path: string) => number;

const medians = (records: BenchRecords, file: PeersFile): MedianOf => (where, path) =>
  median(records.all(file, where).map((record) => numberAt(record, path)));

const LOOP_HEAD = [">GB/s", ">loop, GB/s", ">of the loop", ">rounds"];

/** What tokens read a second, what the loop behind them read, and the median of the rounds' shares. */
function loopColumns(rounds: readonly BenchRecord[]): string[] {
  const of = (path: string) => rounds.map((record) => numberAt(record, path));
  const [rates, loops] = [of("gb_per_s"), of("read_gb_per_s")];
  return [
    digits(median(rates), 3),
    digits(median(loops), 3),
    median(rates.map((rate, round) => rate / (loops[round] ?? NaN))).toFixed(2),
    String(rounds.length),
  ];
}

/** Tokens per second of both engines. */
export function peersDecode(records: BenchRecords, file: PeersFile): Table {
  const medianOf = medians(records, file);
  const row = (name: string, where: Where): string[] => {
    const own = { ...where, ...OWN };
    const rates = [own, { ...where, ...PEER }].map((one) => medianOf(one, "tokens_per_s")) as [
      number,
      number,
    ];
    return [
      name,
      ...rates.map((rate) => digits(rate, 3)),
      times(rates[0] / rates[1]),
      ...loopColumns(records.all(file, own)),
    ];
  };
  const base = { what: "decode", ctx: 512 };
  return {
    head: [
      "tokens/s",
      ">StarX",
      ">llama.cpp",
      ">faster by",
      ...LOOP_HEAD,
    ],
    rows: MODELS.flatMap(([model, name]) => [
      row(`${name}, bf16`, { ...base, model, weights: "bf16", batch: 1 }),
      row(`${name}, int8`, { ...base, model, weights: "int8", batch: 1 }),
      row(`${name}, bf16, eight at once`, { ...base, model, weights: "bf16", batch: 8 }),
    ]),
  };
}

/** The medians of an engine's prefills, in seconds. */
function prefillPair(medianOf: MedianOf, where: Where): [bf16: number, int8: number] {
  const base = { ...where, what: "prefill", model: "1b" };
  const of = (weights: string) => medianOf({ ...base, weights }, "seconds.0");
  return [of("bf16"), of("int8")];
}

/**
 * Prefill of the 1B shape by both engines, with weights of 16 and of 8 bits: medians in seconds, and how
 * much faster 8 bits are, as the median of the rounds' own ratios.
 */
export function peersPrefill(records: BenchRecords, file: PeersFile): Table {
  const medianOf = medians(records, file);
  const row = (n: number): string[] => {
    const own = prefillPair(medianOf, { ...OWN, n });
    const peer = prefillPair(medianOf, { ...PEER, n });
    const [bf16, int8] = ["bf16", "int8"].map((weights) =>
      records.all(file, { ...OWN, what: "prefill", model: "1b", weights, n })
        .map((record) => numberAt(record, "seconds.0"))
    ) as [number[], number[]];
    const ratios = bf16.flatMap((one, i) => int8[i] === undefined ? [] : [one / int8[i]]);
    return [
      whole(n),
      ...own.map(seconds),
      times(median(ratios)),
      String(ratios.length),
      ...peer.map(seconds),
    ];
  };
  return {
    head: [
      "1B, prefill",
      ">bf16, s",
      ">int8, s",
      ">faster by",
      ">rounds",
      ">llama.cpp, bf16",
      ">Q8_0",
    ],
    rows: [row(512), row(2048)],
  };
}

/** Prefill of the 1B shape by two libraries in turn, and what int8 gains in each. */
export function amxLibraries(records: BenchRecords): Table {
  const file = "amx-alone";
  const medianOf = medians(records, file);
  const row = (n: number, library: string): string[] => {
    const [bf16, int8] = prefillPair(medianOf, { library, n });
    const rounds = ["bf16", "int8"].map((weights) =>
      records.all(file, { what: "prefill", library, weights, n }).length
    );
    return [
      `${whole(n)}, \`${library}\``,
      seconds(bf16),
      seconds(int8),
      times(bf16 / int8),
      rounds.join(", "),
    ];
  };
  return {
    head: ["1B, prefill", ">bf16, s", ">int8, s", ">faster by", ">rounds"],
    rows: [512, 2048].flatMap((n) => [
      row(n, "f2c52f1"),
      row(n, "b2d0e3c"),
    ]),
  };
}

/** Tokens of the 1B shape on cores that nothing else uses. */
export function amxAlone(records: BenchRecords): Table {
  const row = (weights: string): string[] => {
    const all = records.all("amx-alone", { what: "decode", weights });
    const tokens = all.map((record) => numberAt(record, "tokens_per_s"));
    return [`1B, ${weights}`, digits(median(tokens), 3), ...loopColumns(all)];
  };
  return {
    head: ["tokens/s", ">StarX", ...LOOP_HEAD],
    rows: [row("bf16"), row("int8")],
  };
}

/** Tokens after a long context by what keys and values are rounded to. */
export function zen5Caches(records: BenchRecords): Table {
  const medianOf = medians(records, "zen5-peers");
  const row = (cache: string): string[] => {
    const rate = medianOf({ ...OWN, ctx: 8192, cache }, "tokens_per_s");
    return [cache, digits(rate, 3), (1000 / rate).toFixed(1)];
  };
  return {
    head: ["135M after 8,192, `--cache`", ">tokens/s", ">ms a token"],
    rows: [row("bf16"), row("int8"), row("fp8")],
  };
}
