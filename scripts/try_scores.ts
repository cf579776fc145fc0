/**
 * Compares scores of tiles and rules of choosing by them at equal density: what they keep of the exact
 * attention, and RULER's scores with them.
 *
 *     deno run -A scripts/try_scores.ts mass -d DATA --out CURVES [--mode starx] [--prompts 50-52]
 *     deno run -A scripts/try_scores.ts kept --out CURVES
 *     deno run -A scripts/try_scores.ts ruler -d DATA --curves CURVES --out RESULTS --ways own:share@0.2,…
 *     deno run -A scripts/try_scores.ts table --out RESULTS
 *
 * `DATA/<task>/validation.jsonl` is what `prepare` made for one length.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadModel, type Model } from "../mod.ts";
import { errorText, UsageError } from "../lib/errors.ts";
import { readSamples } from "../commands/shared/samples.ts";
import { scoreOf } from "../commands/ruler/sample_scores.ts";
import { formatMean, meanOverTasks, meanScore } from "../ruler/scores.ts";
import { addRows, type Curves, keptAt, nearestStep, tilesOf, wayOf } from "./scores/curves.ts";
import { current } from "./scores/hook.ts";
import { METHODS } from "./scores/methods.ts";
import { RULES } from "./scores/rules.ts";

const TASKS = [
  ...["niah_single_1", "niah_single_2", "niah_single_3"],
  ...["niah_multikey_1", "niah_multikey_2", "niah_multikey_3"],
  ...["niah_multivalue", "niah_multiquery", "vt", "fwe"],
];
const TOKENS: Readonly<Record<string, number>> = { vt: 30, fwe: 50 };
const STOP_WORDS = ["<|eot_id|>"];

interface Options {
  readonly data: string;
  readonly out: string;
  readonly curves: string;
  readonly mode: "xattn" | "starx";
  readonly block: number;
  readonly rest: "drop" | "mean";
  readonly tasks: readonly string[];
  readonly methods: readonly string[];
  readonly ways: readonly string[];
  readonly prompts: readonly [number, number];
  readonly shard: readonly [number, number];
  readonly threads: number;
}

/** A sample's outcome; `way` is `dense` or METHOD:RULE@DENSITY. */
interface Outcome {
  readonly way: string;
  readonly task: string;
  readonly index: number;
  readonly score: number;
  readonly density: number;
  readonly text: string;
}

const USAGE = "usage: try_scores.ts mass|kept|ruler|table, see the head of the file";

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs the command line. @returns The exit code. */
async function main(args: string[]): Promise<number> {
  try {
    await run(args);
    return 0;
  } catch (error) {
    await print(Deno.stderr, `error: ${errorText(error)}`);
    return error instanceof RangeError || error instanceof UsageError ? 2 : 1;
  }
}

async function print(to: typeof Deno.stdout | typeof Deno.stderr, text: string): Promise<void> {
  await to.write(new TextEncoder().encode(`${text}\n`));
}

async function run(args: string[]): Promise<void> {
  const { values, positionals: [command = ""] } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      data: { type: "string", short: "d", default: "" },
      out: { type: "string", default: "" },
      curves: { type: "string", default: "" },
      mode: { type: "string", default: "xattn" },
      block: { type: "string", default: "1024" },
      rest: { type: "string", default: "drop" },
      tasks: { type: "string", default: TASKS.join(",") },
      methods: { type: "string", default: Object.keys(METHODS).join(",") },
      ways: { type: "string", default: "" },
      prompts: { type: "string", default: "0-1" },
      processes: { type: "string", default: "1" },
      shard: { type: "string", default: "0/1" },
      threads: { type: "string", default: "1" },
    },
  });
  const numbers = (text: string, mark: string) => text.split(mark).map(Number);
  const [first = 0, end = 0] = numbers(values.prompts, "-");
  const [shard = 0, count = 1] = numbers(values.shard, "/");
  const options: Options = {
    ...{ data: values.data, out: values.out, curves: values.curves },
    mode: values.mode === "starx" ? "starx" : "xattn",
    block: Number(values.block),
    rest: values.rest === "mean" ? "mean" : "drop",
    tasks: values.tasks.split(","),
    methods: values.methods.split(",").map(checkMethod),
    ways: values.ways.split(",").filter((way) => way !== ""),
    ...{ prompts: [first, end], shard: [shard, count], threads: Number(values.threads) },
  };
  const processes = Number(values.processes);
  if (command === "mass") await measure(options);
  else if (command === "kept") await print(Deno.stdout, await keptTable(options));
  else if (command === "table") await print(Deno.stdout, await scoreTable(options));
  else if (command !== "ruler") throw new UsageError(USAGE);
  else if (processes > 1) await spread(args, processes);
  else await runRuler(options);
}

function checkMethod(name: string): string {
  if (Object.hasOwn(METHODS, name)) return name;
  const known = Object.keys(METHODS).join(", ");
  throw new RangeError(`Cannot use method ${name} as it must be one of ${known}`);
}

/** The same command in several processes, each with its part of the samples. */
async function spread(args: readonly string[], processes: number): Promise<void> {
  await Promise.all(Array.from({ length: processes }, async (_, i) => {
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", "--no-check", fileURLToPath(import.meta.url), ...args],
        ...["--processes", "1", "--shard", `${i}/${processes}`],
      ],
      stdout: "inherit",
      stderr: "inherit",
    }).output();
    if (code !== 0) throw new Error(`Cannot finish shard ${i}: exit code ${code}`);
  }));
}

async function openModel(options: Options): Promise<Model> {
  const { mode, block, rest, threads } = options;
  return await loadModel(fileURLToPath(new URL("../models/starx-tiny", import.meta.url)), {
    ...{ mode, rest, ...mode === "starx" ? { blockTokens: block, anchorTokens: block } : {} },
    ...{ device: "cpu", threads, selectModule: new URL("scores/hook.ts", import.meta.url) },
  });
}

/** Exact attention of some prompts of each task, and the curves of all methods. */
async function measure(options: Options): Promise<void> {
  const { methods, prompts: [first, end] } = options;
  const curves: Curves = {};
  current.choose = async (info) => {
    await addRows(curves, info, { methods, rules: RULES });
    return undefined;
  };
  await using model = await openModel(options);
  for (const task of options.tasks) {
    let index = 0;
    for await (
      const { context, query } of readSamples(`${options.data}/${task}/validation.jsonl`)
    ) {
      if (index >= first && index < end) {
        const { seconds } = await model.generate({ context, query }, { tokensToGenerate: 1 });
        await print(Deno.stderr, `${task} ${index}: ${seconds.toFixed(1)} s`);
      }
      index++;
    }
  }
  await Deno.writeTextFile(options.out, JSON.stringify(curves));
}

async function keptTable({ out }: Options): Promise<string> {
  const curves: Curves = JSON.parse(await Deno.readTextFile(out));
  const densities = [0.1, 0.12, 0.15, 0.2, 0.3, 0.4, 0.5];
  const lines = [`| way | cost | ${densities.join(" | ")} |`];
  for (const [name, curve] of Object.entries(curves)) {
    const cells = densities.map((density) => keptAt(curve, density)?.toFixed(3) ?? "");
    const cost = METHODS[wayOf(name).method]?.cost ?? 0;
    lines.push(`| ${name} | 1/${(1 / cost).toFixed(0)} | ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

/** Scores what is not scored yet, a line for each. */
async function runRuler(options: Options): Promise<void> {
  const { data, out, tasks, ways, prompts: [first, end], shard: [shard, count] } = options;
  const curves: Curves = ways.length === 0
    ? {}
    : JSON.parse(await Deno.readTextFile(options.curves));
  const runs = [
    { name: "dense", way: undefined },
    ...ways.map((name) => {
      const [way = "", density] = name.split("@");
      const curve = curves[way];
      if (curve === undefined) throw new RangeError(`Cannot use ${way}: there is no such curve`);
      const { step } = nearestStep(curve, Number(density));
      return { name, way: { ...wayOf(way), step } };
    }),
  ];
  const path = count === 1 ? out : `${out}.${shard}`;
  const done = new Set((await readOutcomes(out)).map(keyOf));
  await using model = await openModel(options);
  using file = await Deno.open(path, { append: true, create: true });
  for (let index = first; index < end; index++) {
    for (const [number, task] of tasks.entries()) {
      if ((index * tasks.length + number) % count !== shard) continue;
      const sample = await sampleAt(`${data}/${task}/validation.jsonl`, index);
      if (sample === undefined) continue;
      for (const { name, way } of runs) {
        if (done.has(keyOf({ way: name, task, index }))) continue;
        current.choose = way && ((info) => tilesOf(info, way));
        const { text, result } = await model.generate({
          context: sample.context,
          query: sample.query,
        }, {
          tokensToGenerate: TOKENS[task] ?? 128,
          stopWords: STOP_WORDS,
        });
        const sum = (at: 0 | 1) => result.selectedTiles.reduce((sum, one) => sum + one[at], 0);
        const score = scoreOf(sample, { text }, { task }) ?? NaN;
        const outcome = { way: name, task, index, score, density: sum(0) / sum(1), text };
        await file.write(new TextEncoder().encode(`${JSON.stringify(outcome)}\n`));
      }
    }
  }
}

async function sampleAt(path: string, index: number) {
  let number = 0;
  for await (const sample of readSamples(path)) if (number++ === index) return sample;
  return undefined;
}

function keyOf({ way, task, index }: Pick<Outcome, "way" | "task" | "index">): string {
  return `${way} ${task} ${index}`;
}

/** Those of a file and of its shards. */
async function readOutcomes(out: string): Promise<Outcome[]> {
  const all = new Map<string, Outcome>();
  for (const path of [out, ...Array.from({ length: 256 }, (_, i) => `${out}.${i}`)]) {
    const text = await Deno.readTextFile(path).catch(() => "");
    for (const line of text.split("\n")) {
      if (line === "") continue;
      const one: Outcome = JSON.parse(line);
      all.set(keyOf(one), one);
    }
  }
  return [...all.values()];
}

async function scoreTable({ out, tasks }: Options): Promise<string> {
  const outcomes = await readOutcomes(out);
  const lines = [`| way | density | samples | mean | against dense | ${tasks.join(" | ")} |`];
  const dense = new Map(
    outcomes.filter(({ way }) => way === "dense").map((one) => [
      `${one.task} ${one.index}`,
      one.score,
    ]),
  );
  for (const way of new Set(outcomes.map((one) => one.way))) {
    const own = outcomes.filter((one) => one.way === way);
    const ofTasks = tasks.map((task) => own.filter((one) => one.task === task))
      .filter((list) => list.length > 0);
    const mean = meanOverTasks(ofTasks.map((list) => meanScore(list.map((one) => one.score))));
    const differences = meanOverTasks(
      ofTasks.map((list) =>
        meanScore(
          list.map(({ task, index, score }) => score - (dense.get(`${task} ${index}`) ?? NaN)),
        )
      ),
    );
    const density = own.reduce((sum, one) => sum + one.density, 0) / own.length;
    const cells = ofTasks.map((list) => meanScore(list.map((one) => one.score)).mean.toFixed(0));
    lines.push(
      `| ${way} | ${density.toFixed(3)} | ${own.length} | ${formatMean(mean)} | ` +
        `${formatMean(differences)} | ${cells.join(" | ")} |`,
    );
  }
  return lines.join("\n");
}
