/**
 * The tables of `docs/scaling.md`: what the model says, and beside it what was measured.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import {
  type BenchRecord,
  type BenchRecords,
  numberAt,
  type Where,
} from "../performance/records.ts";
import { type Table, whole } from "../performance/table.ts";
import { PLANNED_LANES } from "../../lib/star/anchor_stream.ts";
import { H100, H200, type Machines } from "./machines.ts";
import {
  layersSeconds,
  localTokens,
  MEMORY,
  receivedBytes,
  ringSeconds,
  sentSeconds,
  starSeconds,
  tokenBytes,
  tokenSeconds,
} from "./model.ts";
import { BASE, prefillSeconds, type Rates, ratesOf, stepSeconds } from "./rates.ts";

/** Every table, made of the records. */
export const SCALING_TABLES: Readonly<Record<string, (records: BenchRecords) => Table>> = {
  "scaling-rates": ratesTable,
  "scaling-star": (records) => starTable(h100Rates(records)),
  "scaling-ring": (records) => ringTable(h100Rates(records)),
  "scaling-h100": (records) => comparison(records, H100),
  "scaling-h200": (records) => comparison(records, H200),
  "scaling-goals": goalsTable,
};

/** A context, and blocks and anchors of a length. */
interface Size {
  readonly tokens: number;
  readonly blockTokens: number;
}

const LONG: Size = { tokens: 524_288, blockTokens: 131_072 };
const MILLION: Size = { tokens: 2 ** 20, blockTokens: 65_536 };
/** On two ranks, each has what it has of a million on eight. */
const QUARTER: Size = { tokens: 2 ** 18, blockTokens: 65_536 };
const SHORT: Size = { tokens: 8192, blockTokens: 1024 };

function h100Rates(records: BenchRecords): Rates {
  const rates = ratesOf(records, H100.rates);
  if (rates !== undefined) return rates;
  throw new FileError(
    `Cannot make a table as bench/${H100.rates.file}.jsonl must have one GPU's runs`,
  );
}

function ratesTable(records: BenchRecords): Table {
  const row = (rates: Rates): string[] => [
    rates.source,
    (rates.linearSecondsPerToken * 1e6).toFixed(1),
    (rates.attentionSecondsPerPair * 1e12).toFixed(0),
    (rates.decodeSeconds * 1e3).toFixed(2),
    (rates.decodeSecondsPerToken * 1e9).toFixed(1),
    [...rates.stepExchange].toSorted(([a], [b]) => a - b)
      .map(([ranks, seconds]) => `${(seconds * 1e6).toFixed(1)} (${ranks})`).join(", ") ||
    `${(rates.link.startSeconds * 1e6).toFixed(0)}, assumed`,
    `${(rates.link.bytesPerSecond / 1e9).toFixed(0)}${
      rates.stepExchange.size === 0 ? ", assumed" : ""
    }`,
  ];
  return {
    head: [
      "one GPU, and records",
      ">µs a token",
      ">ps a pair",
      ">ms a step",
      ">ns a token of context",
      ">µs an exchange (ranks)",
      ">GB/s of a link",
    ],
    rows: [H100, H200].flatMap(({ rates }) => ratesOf(records, rates) ?? []).map(row),
  };
}

function starTable(rates: Rates): Table {
  const row = (tokens: number, ranks: number): string[] => {
    const question = { tokens, ranks, blockTokens: BASE.blockTokens };
    const cache = localTokens(question) * tokenBytes();
    return [
      whole(tokens),
      String(ranks),
      starSeconds(rates, question).toFixed(2),
      sentSeconds(rates, question)?.toFixed(2) ?? "",
      (tokenSeconds(rates, question) * 1e3).toFixed(1),
      (receivedBytes(question) / 1e6).toFixed(1),
      cache + MEMORY.weightBytes < MEMORY.gpuBytes ? "yes" : "no",
    ];
  };
  return {
    head: [
      ">context",
      ">ranks",
      ">phase 1, s",
      ">anchor sent, s",
      ">a token, ms",
      ">received a token, MB",
      "fits",
    ],
    rows: [131_072, 2 ** 20, 10 * 2 ** 20].flatMap((tokens) =>
      [1, 2, 4, 8, 64, 1024].map((ranks) => row(tokens, ranks))
    ),
  };
}

function ringTable(rates: Rates): Table {
  const row = (tokens: number, ranks: number): string[] => {
    const { contiguous, zigZag } = ringSeconds(rates, { tokens, ranks });
    return [whole(tokens), String(ranks), contiguous.toFixed(2), zigZag.toFixed(2)];
  };
  return {
    head: [">context", ">ranks", ">contiguous parts, s", ">zig-zag, s"],
    // On more ranks pieces would be shorter than a chunk of queries.
    rows: [131_072, 2 ** 20].flatMap((tokens) =>
      [1, 2, 4, 8, 64].map((ranks) => row(tokens, ranks))
    ),
  };
}

/** A figure for each number of GPUs. */
interface Line {
  readonly what: string;
  readonly unit: "s" | "ms";
  readonly counts?: ((gpus: number) => boolean) | undefined;
  readonly where: (gpus: number) => Where | undefined;
  readonly predict: (rates: Rates, gpus: number) => number | undefined;
  readonly measure: (record: BenchRecord) => number;
  /** The one of the lines whose first figure it is compared with; by default its own. */
  readonly base?: string;
}

const isSeveral = (gpus: number) => gpus > 1;

/** Lines of star on a size: its prefills, and tokens after them. */
function starLines(
  name: string,
  size: Size,
  where: (gpus: number) => Where | undefined,
): Line[] {
  const predict = (rates: Rates, ranks: number) =>
    ranks === 1
      ? starSeconds(rates, { ...size, ranks })
      : sentSeconds(rates, { ...size, ranks }) ?? starSeconds(rates, { ...size, ranks });
  const isUseful = (gpus: number) => gpus <= size.tokens / size.blockTokens;
  return [
    { what: `star, ${name}`, unit: "s", where, predict, measure: prefillSeconds, counts: isUseful },
    {
      what: `a token after ${whole(size.tokens)}`,
      unit: "ms",
      where,
      predict: (rates, ranks) => tokenSeconds(rates, { ...size, ranks }),
      measure: stepSeconds,
      counts: isUseful,
    },
  ];
}

function linesOf({ runs, ringParts }: Machines): Line[] {
  const { tokens } = BASE;
  const [first, token] = starLines("131,072", BASE, runs.star);
  const layers = (mode: "dense" | "star"): Line => ({
    what: `${mode}, layers on so many GPUs`,
    unit: "s",
    where: (gpus) => runs.layers(gpus, mode),
    predict: (rates, gpus) =>
      layersSeconds(rates, { ...(mode === "star" ? BASE : { tokens }), gpus }),
    measure: prefillSeconds,
    counts: isSeveral,
    base: mode === "star" ? "star, 131,072" : "dense, 131,072",
  });
  const ring = (name: string, size: number, where?: (gpus: number) => Where): Line => ({
    what: ringParts === "zigZag" ? `ring, ${name}` : `ring, ${name}, contiguous parts`,
    unit: "s",
    where: (gpus) => where?.(gpus),
    predict: (rates, ranks) => ringSeconds(rates, { tokens: size, ranks })[ringParts],
    measure: prefillSeconds,
    counts: isSeveral,
    base: `dense, ${name}`,
  });
  const dense = (name: string, size: number, where?: Where): Line => ({
    what: `dense, ${name}`,
    unit: "s",
    where: () => where,
    predict: (rates) => ringSeconds(rates, { tokens: size, ranks: 1 }).zigZag,
    measure: prefillSeconds,
    counts: (gpus) => gpus === 1,
  });
  const everywhere: Line = {
    what: "star, 131,072, anchor on all ranks",
    unit: "s",
    where: runs.everywhere,
    predict: (rates, ranks) => starSeconds(rates, { ...BASE, ranks }),
    measure: prefillSeconds,
    counts: isSeveral,
    base: "star, 131,072",
  };
  const short: Line = {
    what: "a token after 8,192",
    unit: "ms",
    where: runs.decode,
    predict: (rates, ranks) => tokenSeconds(rates, { ...SHORT, ranks }),
    measure: stepSeconds,
  };
  const twoBlocks = (what: string, where: Where, lanes?: number): Line => ({
    what: `star, 262,144 in blocks of 65,536${what}`,
    unit: "s",
    where: (gpus) => gpus === 2 ? where : undefined,
    predict: (rates, ranks) => sentSeconds(rates, { ...QUARTER, ranks }, lanes),
    measure: prefillSeconds,
    counts: (gpus) => gpus === 2,
  });
  const { long, million, denseLong, ringLong } = runs;
  return [
    ...first === undefined ? [] : [first, everywhere],
    ...token === undefined ? [] : [token, short],
    ...[dense("131,072", tokens, runs.dense), ring("131,072", tokens, runs.ring)],
    ...[layers("dense"), layers("star")],
    ...runs.twoBlocks === undefined ? [] : [
      twoBlocks("", runs.twoBlocks.many),
      twoBlocks(", two chunks side by side", runs.twoBlocks.two, PLANNED_LANES),
    ],
    ...long === undefined ? [] : starLines("524,288", LONG, long),
    ...million === undefined ? [] : starLines("1,048,576", MILLION, million),
    ...denseLong === undefined ? [] : [dense("524,288", LONG.tokens, denseLong)],
    ...ringLong === undefined ? [] : [ring("524,288", LONG.tokens, ringLong)],
  ];
}

/** What was measured on the smallest machine that has it, and on one GPU of the same machine. */
interface Measured {
  readonly value: number;
  readonly refused: boolean;
  readonly file: string;
}

function measured(
  records: BenchRecords,
  machines: Machines,
  query: { line: Line; gpus: number; file?: string | undefined },
): Measured | undefined {
  const { line, gpus, file: wanted } = query;
  const where = line.where(gpus);
  for (const [file, size] of machines.files) {
    if (where === undefined || size < gpus || file !== (wanted ?? file)) continue;
    const record = records.find(file, where);
    if (record === undefined) continue;
    const refused = isRefused(record);
    return { value: refused ? NaN : line.measure(record), refused, file };
  }
  return undefined;
}

function isRefused({ value }: BenchRecord): boolean {
  return typeof value === "object" && value !== null && "refused" in value;
}

function comparison(records: BenchRecords, machines: Machines): Table {
  const rates = ratesOf(records, machines.rates);
  const lines = linesOf(machines);
  const rows: string[][] = [];
  for (const line of lines) {
    const base = lines.find(({ what }) => what === (line.base ?? line.what)) ?? line;
    for (const gpus of machines.counts.filter(line.counts ?? (() => true))) {
      const found = measured(records, machines, { line, gpus });
      const one = found &&
        measured(records, machines, { line: base, gpus: 1, file: found.file })?.value;
      const paper = rates && line.predict(rates, gpus);
      const paperOne = rates && base.predict(rates, 1);
      const isOne = line === base && gpus === 1;
      rows.push([
        line.what,
        String(gpus),
        inUnit(paper, line.unit),
        found?.refused === true ? "refused" : inUnit(found?.value, line.unit),
        percent(found?.value, paper),
        isOne ? "" : gain(paperOne, paper),
        isOne ? "" : gain(one, found?.value),
      ]);
    }
  }
  const { replicas } = machines.runs;
  if (replicas !== undefined) rows.push(...replicaRows(records, machines, replicas));
  return {
    head: [
      "what",
      ">GPUs",
      ">predicted",
      ">measured",
      ">difference",
      ">gain, predicted",
      ">gain, measured",
    ],
    rows,
  };
}

/** Each copy has a GPU of its own: nothing but the host is shared. */
function replicaRows(
  records: BenchRecords,
  { files }: Machines,
  where: (gpus: number) => Where,
): string[][] {
  return files.map(([file, gpus]) => {
    const record = records.find(file, where(gpus));
    const found = record && numberAt(record, "ratio");
    return [
      "replicas, 16 prompts of 8,192 each",
      String(gpus),
      "",
      "",
      percent(found, gpus),
      `${gpus.toFixed(2)} x`,
      found === undefined ? "" : `${found.toFixed(2)} x`,
    ];
  });
}

function inUnit(seconds: number | undefined, unit: "s" | "ms"): string {
  if (seconds === undefined || Number.isNaN(seconds)) return "";
  return unit === "s" ? `${seconds.toFixed(2)} s` : `${(seconds * 1e3).toFixed(2)} ms`;
}

function percent(found: number | undefined, paper: number | undefined): string {
  if (found === undefined || paper === undefined || Number.isNaN(found)) return "";
  const value = 100 * (found / paper - 1);
  return `${value < 0 ? "-" : "+"}${Math.abs(value).toFixed(1)} %`;
}

function gain(base: number | undefined, value: number | undefined): string {
  if (base === undefined || value === undefined || Number.isNaN(base / value)) return "";
  return `${(base / value).toFixed(2)} x`;
}

function goalsTable(records: BenchRecords): Table {
  const kinds = [H100, H200].map(({ rates }) => ratesOf(records, rates));
  const row = (
    what: string,
    gpus: number,
    goal: { text: string; of: (rates: Rates) => string },
  ): string[] => [
    what,
    String(gpus),
    goal.text,
    ...kinds.map((rates) => rates === undefined ? "" : goal.of(rates)),
  ];
  const star = (text: string, gpus: number) =>
    row("star, 131,072, against one", gpus, {
      text,
      of: (rates) =>
        gain(
          starSeconds(rates, { ...BASE, ranks: 1 }),
          sentSeconds(rates, { ...BASE, ranks: gpus }),
        ),
    });
  const ring = (text: string, ranks: number) =>
    row("ring, 131,072, against dense on one", ranks, {
      text,
      of: (rates) => {
        const seconds = (ranks: number) =>
          ringSeconds(rates, { tokens: BASE.tokens, ranks }).zigZag;
        return gain(seconds(1), seconds(ranks));
      },
    });
  const copies = (text: string, gpus: number) =>
    row("replicas, against one", gpus, { text, of: () => `${gpus.toFixed(2)} x` });
  const question = { ...MILLION, ranks: 8 };
  return {
    head: ["what", ">GPUs", ">to reach", ">predicted, H100", ">predicted, H200"],
    rows: [
      ...[star("3.5 x", 4), star("6.2 x", 8), ring("3.4 x", 4), ring("6.3 x", 8)],
      ...[copies("3.9 x", 4), copies("7.7 x", 8)],
      row("star, 1,048,576, blocks of 65,536", 8, {
        text: "below 15 s",
        of: (rates) => inUnit(sentSeconds(rates, question), "s"),
      }),
      row("the same with two chunks of the anchor side by side", 8, {
        text: "",
        of: (rates) => inUnit(sentSeconds(rates, question, PLANNED_LANES), "s"),
      }),
      row("a token after them", 8, {
        text: "below 30 ms",
        of: (rates) => inUnit(tokenSeconds(rates, question), "ms"),
      }),
    ],
  };
}
