/**
 * Times StarX and llama.cpp in turn on the same model and cores, and prints the ratios:
 * `deno task bench:peer --llama PATH --model_path FOLDER`.
 *
 * Each round runs `llama-bench`, or `llama-batched-bench` for many sequences, and `cli.ts bench` once
 * for each kind of weights; the ratios are of medians over the rounds. StarX's int8 has the head in
 * int8, too, as llama.cpp's Q8_0 has it.
 * llama.cpp has no sparse attention: StarX's sparse mode is compared with its dense one.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { median } from "../commands/bench/timings.ts";
import { errorText, EXIT_CODES, FileError, UsageError } from "../lib/errors.ts";
import { isFile } from "../lib/files.ts";
import { writeGguf } from "./gguf.ts";
import type { TensorType } from "./gguf_file.ts";

const HELP = `Times StarX and llama.cpp in turn.

Usage: deno task bench:peer --llama PATH --model_path FOLDER [flags]

  --llama PATH          a folder that holds llama-bench (and llama-batched-bench)
  --model_path FOLDER   a Llama model in Hugging Face's format
  --weights KIND,...    bf16, and int8 against llama.cpp's Q8_0 (default bf16)
  --gguf FILE,...       the same model for llama.cpp, a file for each kind (default: written to
                        temporary files)
  --lengths N,...       tokens to prefill (default 512,2048)
  --decode N,...        context lengths at which to time decoding (default 512)
  --batch_size N        sequences that decode together after each --decode length, beside one
                        (default 1)
  --starx N,...         lengths at which starx is compared with llama.cpp's dense (default none)
  --density X           share of tiles, drawn at random, in starx (default 0.25)
  --block_size N        block and anchor of starx (default 4096)
  --threads N           default 2
  --rounds N            default 5
`;

/** Tokens that both generate per measurement. */
const DECODE_TOKENS = 32;

/**
 * Tokens of llama.cpp's first prefill, which is not used: it brings the weights into memory. Its own
 * warm-up would run every length twice.
 */
const WARM_UP_TOKENS = 128;

/** What weights are, here and there. */
const KINDS = {
  bf16: { flags: [], type: "bf16", peer: "BF16" },
  int8: { flags: ["--weights", "int8", "--head", "int8"], type: "q8_0", peer: "Q8_0" },
} as const satisfies Record<string, { flags: readonly string[]; type: TensorType; peer: string }>;

type Kind = keyof typeof KINDS;

/** The command line. */
interface PeerOptions {
  readonly llama: string;
  readonly modelPath: string;
  readonly kinds: readonly Kind[];
  /** Of each kind, or none. */
  readonly ggufs: readonly string[];
  readonly lengths: readonly number[];
  readonly decode: readonly number[];
  readonly batchSize: number;
  readonly starx: readonly number[];
  readonly density: string;
  readonly blockSize: string;
  readonly threads: string;
  readonly rounds: number;
}

/** Seconds of each measurement by its name, and the peak of memory. */
interface Times {
  readonly seconds: ReadonlyMap<string, number>;
  readonly rssMib: number;
}

/** A kind of weights with what was measured of it. */
interface PeerRun {
  readonly kind: Kind;
  readonly gguf: string;
  /** Whether the file was written here. */
  readonly isOwn: boolean;
  readonly own: Times[];
  readonly peer: Times[];
}

/** A comparison: what each engine calls it. */
interface Pair {
  readonly name: string;
  readonly own: string;
  readonly peer: string;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  try {
    const options = readFlags(Deno.args);
    if (options === undefined) write(HELP);
    else await comparePeer(options);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`bench_peer: ${errorText(error)}\n`));
    const isUsage = error instanceof UsageError || error instanceof TypeError;
    return isUsage ? EXIT_CODES.usage : EXIT_CODES.file;
  }
}

function readFlags(args: string[]): PeerOptions | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      llama: text,
      model_path: text,
      weights: { ...text, default: "bf16" },
      gguf: { ...text, default: "" },
      lengths: { ...text, default: "512,2048" },
      decode: { ...text, default: "512" },
      batch_size: { ...text, default: "1" },
      starx: { ...text, default: "" },
      density: { ...text, default: "0.25" },
      block_size: { ...text, default: "4096" },
      threads: { ...text, default: "2" },
      rounds: { ...text, default: "5" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { llama, model_path: modelPath } = values;
  if (llama === undefined) throw new UsageError("--llama is required");
  if (modelPath === undefined) throw new UsageError("--model_path is required");
  const parts = (list: string) => list.split(",").filter((part) => part !== "");
  const numbers = (list: string) => parts(list).map(Number);
  const [lengths, decode, starx] = [values.lengths, values.decode, values.starx].map(numbers);
  const [rounds, batchSize] = [Number(values.rounds), Number(values.batch_size)];
  const given = { lengths, decode, starx, rounds: [rounds], batch_size: [batchSize] };
  for (const [flag, numbers = []] of Object.entries(given)) {
    const wrong = numbers.find((number) => !Number.isInteger(number) || number < 1);
    if (wrong === undefined) continue;
    throw new UsageError(`--${flag}: must be whole numbers above 0: current value is '${wrong}'`);
  }
  const { density, block_size: blockSize, threads } = values;
  const [kinds, ggufs] = [parts(values.weights), parts(values.gguf)];
  const isKnown = (kind: string): kind is Kind => Object.hasOwn(KINDS, kind);
  if (kinds.length === 0 || !kinds.every(isKnown)) {
    const known = Object.keys(KINDS).join(" or ");
    throw new UsageError(`--weights: must be ${known}: current value is '${values.weights}'`);
  }
  if (ggufs.length > 0 && ggufs.length !== kinds.length) {
    throw new UsageError(
      `--gguf: must name a file for each of --weights: current value is '${values.gguf}'`,
    );
  }
  return {
    llama,
    modelPath,
    kinds,
    ggufs,
    lengths: lengths ?? [],
    decode: decode ?? [],
    batchSize,
    starx: starx ?? [],
    density,
    blockSize,
    threads,
    rounds,
  };
}

/** Runs all rounds and prints the table. */
async function comparePeer(options: PeerOptions): Promise<void> {
  const binary = await findProgram(options.llama, "llama-bench");
  const batched = options.batchSize === 1
    ? undefined
    : await findProgram(options.llama, "llama-batched-bench");
  const runs: PeerRun[] = [];
  try {
    for (const [index, kind] of options.kinds.entries()) {
      const given = options.ggufs[index];
      const gguf = given ?? await Deno.makeTempFile({ suffix: ".gguf" });
      runs.push({ kind, gguf, isOwn: given === undefined, own: [], peer: [] });
      if (given !== undefined) continue;
      write(`writing ${gguf}\n`);
      await writeGguf(gguf, options.modelPath, { type: KINDS[kind].type });
    }
    for (let round = 1; round <= options.rounds; round++) {
      write(`round ${round} of ${options.rounds}\n`);
      for (const { kind, gguf, own, peer } of runs) {
        peer.push(await runLlama({ ...options, binary, batched, gguf }));
        own.push(await runOwn(options, kind));
      }
    }
    for (const run of runs) write(table(options, run));
    const [first, ...others] = runs;
    for (const other of others) if (first !== undefined) write(ownTable(options, first, other));
  } finally {
    for (const { gguf, isOwn } of runs) if (isOwn) await Deno.remove(gguf);
  }
}

async function findProgram(folder: string, name: string): Promise<string> {
  const candidates = ["", "/bin", "/build/bin"].map((place) => `${folder}${place}/${name}`);
  for (const candidate of candidates) {
    if (await isFile(candidate)) return candidate;
  }
  throw new FileError(`Cannot find ${name}: none of ${candidates.join(", ")} is a file`);
}

async function runLlama(
  options: PeerOptions & { binary: string; batched: string | undefined; gguf: string },
): Promise<Times> {
  const { binary, batched, gguf, threads, lengths, decode, batchSize, starx } = options;
  const base = ["-m", gguf, "-t", threads, "-fa", "1", "-r", "1", "-o", "json", "-ngl", "0"];
  const seconds = new Map<string, number>();
  const prompts = [...new Set([...lengths, ...starx])];
  let rssMib = 0;
  const runs = [
    {
      args: ["--no-warmup", "-p", [WARM_UP_TOKENS, ...prompts].join(","), "-n", "0"],
      needed: prompts.length > 0,
    },
    {
      args: ["-p", "0", "-n", String(DECODE_TOKENS), "-d", decode.join(",")],
      needed: decode.length > 0,
    },
  ];
  for (const { args, needed } of runs) {
    if (!needed) continue;
    const result = await runMeasured(binary, [...base, ...args]);
    rssMib = Math.max(rssMib, result.rssMib);
    for (const record of JSON.parse(result.text) as Record<string, unknown>[]) {
      const [prompt, depth] = [Number(record.n_prompt), Number(record.n_depth)];
      const ns = Number((record.samples_ns as number[])[0]);
      if (prompt > 0) seconds.set(`prefill ${prompt}`, ns / 1e9);
      else seconds.set(`decode ${depth}`, ns / 1e9 / DECODE_TOKENS);
    }
  }
  for (const depth of batched === undefined ? [] : decode) {
    // A sequence's part is rounded to a multiple of 256 there.
    const context = batchSize * Math.ceil((depth + DECODE_TOKENS) / 256) * 256;
    const args = ["-m", gguf, "-t", threads, "-tb", threads, "-fa", "on", "-ngl", "0"];
    args.push("-c", String(context), "-b", "2048", "-ub", "512", "--output-format", "jsonl");
    args.push("-npp", String(depth), "-ntg", String(DECODE_TOKENS), "-npl", String(batchSize));
    const { text } = await runMeasured(batched ?? "", args);
    const line = text.split("\n").find((line) => line.includes(`"speed_tg"`));
    if (line === undefined) throw new FileError(`Cannot use ${batched}: it printed no times`);
    const { t_tg } = JSON.parse(line.slice(line.indexOf("{"))) as { t_tg: number };
    seconds.set(`decode ${depth} of ${batchSize}`, t_tg / DECODE_TOKENS / batchSize);
  }
  return { seconds, rssMib };
}

async function runOwn(options: PeerOptions, kind: Kind): Promise<Times> {
  const { modelPath, threads, lengths, decode, batchSize, starx, density, blockSize } = options;
  const batch = ["-b", String(batchSize)];
  const base = ["bench", "--device", "cpu", "--model_path", modelPath, "--threads", threads];
  base.push("--repeats", "1", "--decode_tokens", String(DECODE_TOKENS), "--json");
  base.push("--prompt", "random", ...KINDS[kind].flags);
  const seconds = new Map<string, number>();
  let rssMib = 0;
  const runs = [
    { mode: "dense", lengths, decode, more: [] },
    // The length that is asked for has to be one; its prefill is not looked at.
    { mode: "dense", lengths: batchSize === 1 ? [] : [1], decode, more: batch },
    { mode: "starx", lengths: starx, decode: [], more: ["--density", density, "-bs", blockSize] },
  ];
  for (const run of runs) {
    if (run.lengths.length === 0) continue;
    const args = [...base, "-a", run.mode, "-l", ...run.lengths.map(String), ...run.more];
    if (run.decode.length > 0) args.push("--decode", ...run.decode.map(String));
    const { text } = await runMeasured(Deno.execPath(), [
      "run",
      "--allow-read",
      "--allow-env",
      "--allow-ffi",
      "--allow-sys",
      fileURLToPath(new URL("../cli.ts", import.meta.url)),
      ...args,
    ]);
    const times = JSON.parse(text.trimEnd().split("\n").at(-1) ?? "") as {
      prefill: { n: number; s_med: number }[];
      decode: { ctx: number; s_med: number; batch?: number }[];
      rss_mib: number;
    };
    const isBatch = run.more === batch;
    const name = run.mode === "dense" ? "prefill" : run.mode;
    for (const { n, s_med } of isBatch ? [] : times.prefill) seconds.set(`${name} ${n}`, s_med);
    for (const { ctx, s_med } of times.decode) {
      if (isBatch) seconds.set(`decode ${ctx} of ${batchSize}`, s_med / batchSize);
      else seconds.set(`decode ${ctx}`, s_med);
    }
    if (run.mode === "dense" && !isBatch) rssMib = times.rss_mib;
  }
  return { seconds, rssMib };
}

/** Runs a program; its output and the peak of its memory. */
async function runMeasured(
  program: string,
  args: readonly string[],
): Promise<{ text: string; rssMib: number }> {
  const child = new Deno.Command(program, { args: [...args], stdout: "piped", stderr: "piped" })
    .spawn();
  let rssMib = 0;
  const timer = setInterval(async () => {
    // Files of other processes are read by a program: the runtime allows it to nobody else.
    const args = ["VmHWM", `/proc/${child.pid}/status`];
    const { stdout } = await new Deno.Command("grep", { args, stderr: "null" }).output();
    const kib = /(\d+) kB/.exec(new TextDecoder().decode(stdout))?.[1];
    rssMib = Math.max(rssMib, Number(kib ?? 0) / 1024);
  }, 500);
  const output = await child.output();
  clearInterval(timer);
  const decoder = new TextDecoder();
  if (!output.success) {
    const lines = decoder.decode(output.stderr).trim().split("\n").slice(-5).join("\n");
    throw new FileError(`Cannot run ${program}: it ended with ${output.code}\n${lines}`);
  }
  return { text: decoder.decode(output.stdout), rssMib };
}

/** What is compared. */
function pairsOf(options: PeerOptions): Pair[] {
  const alike = (name: string): Pair => ({ name, own: name, peer: name });
  return [
    ...options.lengths.map((n) => alike(`prefill ${n}`)),
    ...options.starx.map((n) => ({ ...alike(`starx ${n}`), peer: `prefill ${n}` })),
    ...options.decode.flatMap((n) => [
      alike(`decode ${n}`),
      ...(options.batchSize > 1 ? [alike(`decode ${n} of ${options.batchSize}`)] : []),
    ]),
  ];
}

function medianOf(runs: readonly Times[], key: string): number {
  return median(runs.map(({ seconds }) => seconds.get(key) ?? NaN));
}

function table(options: PeerOptions, { kind, own, peer }: PeerRun): string {
  const lines = pairsOf(options).map((pair) => {
    const [ours, theirs] = [medianOf(own, pair.own), medianOf(peer, pair.peer)];
    const ratio = `${(theirs / ours).toFixed(2)} x`;
    return columns([pair.name, ours.toFixed(4), theirs.toFixed(4), ratio]);
  });
  const memory = [own, peer].map((runs) =>
    Math.max(...runs.map(({ rssMib }) => rssMib)).toFixed(0)
  );
  return [
    columns(["", `StarX ${kind} s`, `llama.cpp ${KINDS[kind].peer} s`, "faster by"]),
    ...lines,
    columns(["peak MiB", ...memory, ""]),
    "",
  ].join("\n");
}

/** StarX with two kinds of weights. */
function ownTable(options: PeerOptions, first: PeerRun, other: PeerRun): string {
  const lines = pairsOf(options).map(({ name, own }) => {
    const [before, after] = [medianOf(first.own, own), medianOf(other.own, own)];
    return columns([name, before.toFixed(4), after.toFixed(4), `${(before / after).toFixed(2)} x`]);
  });
  const head = columns(["", `StarX ${first.kind} s`, `StarX ${other.kind} s`, "faster by"]);
  return [head, ...lines, ""].join("\n");
}

function columns([first = "", ...others]: readonly string[]): string {
  return first.padEnd(16) + others.map((text) => text.padStart(18)).join("");
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
