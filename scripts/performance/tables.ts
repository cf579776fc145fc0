/**
 * The tables of `docs/performance.md` that are made of `bench/*.jsonl`, by their names.
 *
 * @module
 */
import { median } from "../../commands/bench/timings.ts";
import { h200Prefill, h200Results } from "./build_tables.ts";
import { amxAlone, amxLibraries, peersDecode, peersPrefill, zen5Caches } from "./cpu_tables.ts";
import { type BenchRecord, type BenchRecords, numberAt, numbersAt } from "./records.ts";
import { digits, milliseconds, seconds, type Table, times, whole } from "./table.ts";

/** Every table, made of the records. */
export const TABLES: Readonly<Record<string, (records: BenchRecords) => Table>> = {
  "h200-batch": h200Batch,
  "h200-results": h200Results,
  "h200-attention": h200Attention,
  "h200-ncu": h200Ncu,
  "h200-prefill": h200Prefill,
  "h100-prefill": h100Prefill,
  "h100-decode": h100Decode,
  "h100-attention": h100Attention,
  "h100-ops": h100Ops,
  "h100x2-prefill": h100x2Prefill,
  "h100x2-decode": h100x2Decode,
  "zen5-decode": (records) => peersDecode(records, "zen5-peers"),
  "zen5-prefill": (records) => peersPrefill(records, "zen5-peers"),
  "zen5-caches": zen5Caches,
  "amx-decode": (records) => peersDecode(records, "amx-peers"),
  "amx-alone": amxAlone,
  "amx-libraries": amxLibraries,
  "amx-prefill": (records) => peersPrefill(records, "amx-peers"),
};

/** The median of a bench's prefills, in seconds. */
function prefillSeconds(record: BenchRecord): number {
  return median(numbersAt(record, "prefill.0.seconds"));
}

/** Milliseconds of a step of one sequence. */
function stepMs(record: BenchRecord): number {
  return 1000 / numberAt(record, "decode.0.tokens_per_s");
}

function h200Batch(records: BenchRecords): Table {
  const commits = { now: "ca0fe72", before: "4f98aaf" };
  const file = "h200-batch";
  const row = (context: number, batch: number, peerBatch: number): string[] => {
    const [now, before] = [commits.now, commits.before].map((commit) =>
      records.one(file, { commit, "decode.0.ctx": context, "decode.0.batch": batch })
    );
    const peer = records.one(file, {
      ...{ what: "generate", cache: "dynamic" },
      ...{ tokens: context, batch: peerBatch },
    });
    const sample = (record: BenchRecord | undefined) =>
      record === undefined ? "" : digits(numberAt(record, "decode.0.s_per_sample"), 3);
    return [
      `${whole(context)} tokens`,
      String(batch),
      now === undefined ? "" : digits(numberAt(now, "decode.0.ms_per_step"), 3),
      sample(now),
      sample(before),
      `${digits(numberAt(peer, "seconds_per_sample"), 3)} (${peerBatch})`,
    ];
  };
  return {
    head: [
      "prompts of",
      ">at once",
      ">ms a step",
      ">seconds a sample",
      `>at \`${commits.before}\``,
      ">transformers, at once",
    ],
    rows: [row(4096, 32, 32), row(8192, 16, 16), row(32_768, 16, 4), row(8192, 1, 1)],
  };
}

/** Attention before and after its second round, in turn in one run. */
function h200Attention(records: BenchRecords): Table {
  const file = "h200-attention";
  const cell = (record: BenchRecord): string => {
    const ms = median(numbersAt(record, "ms"));
    return `${milliseconds(ms)} ms, ${whole(numberAt(record, "flops") / ms / 1e9)}`;
  };
  const row = (tokens: number, density: number): string[] => {
    const of = (build: string) => cell(records.one(file, { build, tokens, density }));
    const peer = density === 1 ? of("cuDNN") : "";
    return [
      whole(tokens),
      density === 1 ? "all" : `${100 * density} %`,
      of("before"),
      of("after"),
      peer,
    ];
  };
  return {
    head: ["tokens", "tiles", ">before, TFLOP/s", ">after", ">cuDNN"],
    rows: [row(8192, 1), row(32_768, 1), row(131_072, 1), row(32_768, 0.1), row(131_072, 0.1)],
  };
}

/** Counters of attention and of decode steps' products; the reasons for which warps wait most. */
function h200Ncu(records: BenchRecords): Table {
  const row = (name: string, op: string): string[] => {
    const record = records.one("h200-ncu", { op });
    const percent = (key: string): string => `${whole(numberAt(record, `${key}_percent`))} %`;
    const us = numberAt(record, "us");
    const reasons = ["long_scoreboard", "wait", "barrier", "dispatch_stall", "short_scoreboard"];
    const all = numberAt(record, "cycles_per_instruction");
    const shares = reasons.map((reason) => numberAt(record, `stalls.${reason}`) / all);
    return [
      name,
      us < 1000 ? `${us.toFixed(1)} µs` : `${milliseconds(us / 1000)} ms`,
      `${numberAt(record, "sm_ghz").toFixed(2)} GHz`,
      ...["tensor", "dram", "l2", "l2_hit", "issue"].map(percent),
      shares.map((share) => whole(100 * share)).join(", "),
    ];
  };
  return {
    head: [
      "kernel",
      ">time",
      ">clock",
      ">tensor cores",
      ">memory",
      ">L2",
      ">L2 hits",
      ">issue",
      ">waits",
    ],
    rows: [
      row("dense attention, 32,768", "attention dense 32768"),
      row("a tenth of its tiles", "attention block-sparse 32768, a tenth"),
      ...([[1, "bf16"], [1, "e4m3"], [32, "bf16"], [32, "e4m3"]] as const).flatMap(
        ([rows, weights]) =>
          [["output", "4096x4096"], ["gate and up", "28672x4096"], ["down", "4096x14336"]].map(
            ([name, matrix]) =>
              row(`${name}, ${rows} × ${weights}`, `decode ${rows}x${matrix} ${weights}`),
          ),
      ),
    ],
  };
}

function h100Prefill(records: BenchRecords): Table {
  const row = (name: string, where: { part: string; mode: string }): string[] => {
    const record = records.one("h100-prefill-decode", where);
    const tokens = numberAt(record, "prefill.0.n");
    const part = (key: string): string => numberAt(record, `prefill.0.${key}`).toFixed(2);
    const isDense = where.mode === "dense";
    const peer = isDense ? records.one("h100-peers", { what: "prefill", tokens }) : undefined;
    return [
      name,
      seconds(prefillSeconds(record)),
      whole(numberAt(record, "prefill.0.tokens_per_s")),
      part("matmul_s"),
      part("attention_s"),
      where.mode === "xattn" ? part("selection_s") : "",
      part("rest_s"),
      peer === undefined ? "" : seconds(numberAt(peer, "seconds")),
    ];
  };
  return {
    head: [
      "prefill",
      ">seconds",
      ">tokens/s",
      ">products",
      ">attention",
      ">selection",
      ">rest",
      ">transformers",
    ],
    rows: [
      row("dense, 8,192", { part: "dense 8k", mode: "dense" }),
      row("dense, 32,768", { part: "dense 32k", mode: "dense" }),
      row("star, 32,768, block and anchor 8,192", { part: "star, xattn 32k", mode: "star" }),
      row("xattn, 32,768, a tenth of the blocks", { part: "star, xattn 32k", mode: "xattn" }),
      row("dense, 131,072", { part: "dense 128k", mode: "dense" }),
      row("star, 131,072, block and anchor 16,384", { part: "star 128k", mode: "star" }),
      row("xattn, 131,072, a tenth of the blocks", { part: "xattn 128k", mode: "xattn" }),
    ],
  };
}

function h100Decode(records: BenchRecords): Table {
  const row = (part: string): string[] => {
    const record = records.one("h100-prefill-decode", { part });
    const context = numberAt(record, "decode.0.ctx");
    const peer = records.one("h100-peers", { what: "decode", context });
    return [
      whole(context),
      stepMs(record).toFixed(2),
      whole(numberAt(record, "decode.0.tokens_per_s")),
      `${whole(numberAt(record, "decode.0.gb_per_s"))} GB/s`,
      `${numberAt(peer, "tokens_per_s").toFixed(1)} tokens/s`,
    ];
  };
  return {
    head: ["decode after", ">ms a token", ">tokens/s", ">bytes read", ">transformers"],
    rows: [row("dense 8k"), row("xattn 128k")],
  };
}

function h100Attention(records: BenchRecords): Table {
  const row = (tokens: number, density: number): string[] => {
    const built = (build: string): string => {
      const heads = { query_heads: 32, kv_heads: 8, head_dim: 128 };
      const where = { build, queries: tokens, tokens, density, ...heads };
      const record = records.one("h100-attention", where);
      const ms = milliseconds(numberAt(record, "ms"));
      return `${ms} ms, ${whole(numberAt(record, "tflops"))} TFLOP/s`;
    };
    const peer = (what: string): string =>
      density < 1 || tokens < 32_768
        ? ""
        : whole(numberAt(records.one("h100-peers", { what, tokens }), "tflops"));
    return [
      whole(tokens),
      density === 1 ? "all" : `${100 * density} %`,
      built("hopper"),
      built("generic"),
      peer("attention CUDNN_ATTENTION"),
      peer("attention FLASH_ATTENTION"),
    ];
  };
  return {
    head: [
      "tokens",
      "blocks",
      "Hopper's build",
      "generic build",
      ">cuDNN",
      ">FlashAttention-2",
    ],
    rows: [row(8192, 1), row(32_768, 1), row(131_072, 1), row(131_072, 0.1), row(131_072, 0.25)],
  };
}

/** The rates that an op is measured by. */
type Rate = "tflops" | "gb_per_s";

/** What `h100-ops` shows: how a row is called, the op's name in the records, and its rate. */
const OPS: readonly (readonly [string, string, Rate])[] = [
  ["attention, all blocks", "attention dense 131072", "tflops"],
  ["attention, a tenth", "attention block-sparse 131072", "tflops"],
  ["antidiagonal mass, stride 16", "antidiagonal mass 131072", "tflops"],
  ["the same, by 8,192", "antidiagonal mass 131072 by 8192", "tflops"],
  ["block selection", "select blocks 131072", "gb_per_s"],
  ["the same, by 8,192", "select blocks 131072 by 8192", "gb_per_s"],
  ["RMSNorm", "rms_norm 16384", "gb_per_s"],
  ["SwiGLU", "swiglu 16384", "gb_per_s"],
  ["RoPE", "rope 16384", "gb_per_s"],
  ["decode: qkv", "decode qkv 1x6144x4096", "gb_per_s"],
  ["decode: output", "decode output 1x4096x4096", "gb_per_s"],
  ["decode: gate and up", "decode gate and up 1x28672x4096", "gb_per_s"],
  ["decode: down", "decode down 1x4096x14336", "gb_per_s"],
  ["decode: output embedding", "decode head 1x128256x4096", "gb_per_s"],
  ["decode attention after 131,072", "attention decode 131072", "gb_per_s"],
];
const PRODUCTS: readonly (readonly [string, string])[] = [
  ["product qkv", "16384x6144x4096"],
  ["product output", "16384x4096x4096"],
  ["product gate and up", "16384x28672x4096"],
  ["product down", "16384x4096x14336"],
];

function h100Ops(records: BenchRecords): Table {
  const row = (label: string, rate: Rate, where: { part: string; name: string }): string[] => {
    const record = records.one("h100-ops", where);
    const us = numberAt(record, "us");
    return [
      label,
      us < 1000 ? `${digits(us, 3)} µs` : `${digits(us / 1000, 4)} ms`,
      `${whole(numberAt(record, rate))} ${rate === "tflops" ? "TFLOP/s" : "GB/s"}`,
      (us / numberAt(record, "floor_us")).toFixed(2),
    ];
  };
  return {
    head: ["op", ">time", ">reaches", ">of the copy's floor", ">PyTorch"],
    rows: [
      ...PRODUCTS.map(([what, shape]) => [
        ...row(what, "tflops", { part: "ops 32k", name: `${what} ${shape}` }),
        `${whole(numberAt(records.one("h100-peers", { what }), "tflops"))} TFLOP/s`,
      ]),
      ...OPS.map(([label, name, rate]) => row(label, rate, { part: "ops 128k", name })),
    ],
  };
}

function h100x2Prefill(records: BenchRecords): Table {
  const secondsOf = (part: string, mode: string): number =>
    prefillSeconds(records.one("h100x2-hosts", { part, mode }));
  const [alone, dense] = [secondsOf("star, 1", "star"), secondsOf("layers on 1 GPUs", "dense")];
  const row = (label: string, value: number, base?: number, of = ""): string[] => [
    label,
    seconds(value),
    base === undefined ? "" : `${times(base / value)}${of}`,
  ];
  return {
    head: ["131,072 tokens, block and anchor 16,384", ">prefill, s", ">against one"],
    rows: [
      row("star, one GPU", alone),
      row("star, two processes, anchor sent", secondsOf("star, 2", "star"), alone),
      row(
        "star, two processes, anchor on both",
        secondsOf("star, anchor everywhere, 2", "star"),
        alone,
      ),
      row(
        "ring, contiguous parts, two processes (one run)",
        secondsOf("ring, 2", "ring"),
        dense,
        ", of dense",
      ),
      row("dense, one GPU", dense),
      row(
        "dense, one process, layers on two GPUs",
        secondsOf("layers on 2 GPUs", "dense"),
        dense,
      ),
      // Against the run of the same session on one of them.
      row(
        "star, one process, layers on two GPUs",
        secondsOf("layers on 2 GPUs", "star"),
        secondsOf("layers on 1 GPUs", "star"),
      ),
    ],
  };
}

function h100x2Decode(records: BenchRecords): Table {
  const ms = (part: string): string =>
    `${stepMs(records.one("h100x2-hosts", { part })).toFixed(2)} ms`;
  return {
    head: ["a token after", ">one process", ">two processes", ">not recorded"],
    rows: [
      [
        "8,192 tokens, blocks of 1,024",
        ms("decode 8k, 1"),
        ms("decode 8k, 2"),
        ms("decode 8k, not recorded, 2"),
      ],
      ["131,072 tokens", ms("star, 1"), ms("star, 2"), ""],
    ],
  };
}
