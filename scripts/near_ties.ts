/**
 * Compares the answers of two builds of this program, sample by sample: whether the texts are equal,
 * and where not, the first token that differs and how far the two largest logits are apart there, in
 * each build. A small margin is a near-tie, which another order of a sum decides.
 *
 * The samples are RULER's; both builds read the same files and are run by their own `infer`. The
 * logits of a later token are those behind a prompt that ends in the tokens before it.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { fileURLToPath } from "node:url";
import { errorText, EXIT_CODES, UsageError } from "../lib/errors.ts";
import { loadTokenizer, type Tokenizer } from "../lib/model/tokenizer.ts";
import { RULER_TASKS } from "../ruler/tasks.ts";
import { MODEL_TEMPLATES } from "../ruler/templates.ts";

/** Those of the bare `deno task ruler`. */
const TASKS = "niah_single_1,niah_multikey_2,niah_multikey_3,vt,fwe";

const HELP = `Lists the samples that two builds answer differently, and by how little.

Usage: deno run -A scripts/near_ties.ts --before FOLDER --output FOLDER [flags]

  --before FOLDER      a checkout of the build to compare with, such as commit d07c039
  --output FOLDER      takes the data and both builds' records; what is finished is kept
  --model_path FOLDER  default: models/starx-tiny
  --tasks NAME,...     default: ${TASKS}
  --modes NAME,...     default: dense,xattn,star,starx
  --length N           tokens of a sample (default 4096)
  --block_size N       of star and starx (default 1024)
  --samples N          of each task (default 20)
  --device NAME        cpu or cuda (default cpu)
  --batch_size N       of this build (default auto)
`;

const ROOT = fileURLToPath(new URL("../", import.meta.url));
const TEMPLATE = "llama3";

/** What to compare. */
interface Comparison {
  readonly before: string;
  readonly output: string;
  readonly model: string;
  readonly tasks: readonly string[];
  readonly modes: readonly string[];
  readonly length: number;
  readonly blockTokens: number;
  readonly samples: number;
  readonly device: string;
  readonly batchSize: string;
}

/** A record of `infer`. */
interface Answer {
  readonly index: number;
  readonly input_context: string;
  readonly input_query: string;
  readonly pred: string;
  readonly generated_ids: readonly number[];
  readonly top_logits: readonly (readonly [number, number])[];
}

/** What two builds answer to one sample. */
interface Pair {
  readonly before: Answer;
  readonly now: Answer;
}

/** One run of `infer`. */
interface Run {
  readonly task: string;
  readonly mode: string;
  readonly input: string;
  readonly output: string;
  readonly tokens: number;
  readonly topLogits: number;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  try {
    const comparison = readFlags();
    if (comparison === undefined) write(HELP);
    else await compare(comparison);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`near_ties: ${errorText(error)}\n`));
    return error instanceof UsageError || error instanceof TypeError
      ? EXIT_CODES.usage
      : EXIT_CODES.bug;
  }
}

function readFlags(): Comparison | undefined {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  const { values } = parseArgs({
    options: {
      before: { type: "string" },
      output: { type: "string" },
      model_path: text(`${ROOT}models/starx-tiny`),
      tasks: text(TASKS),
      modes: text("dense,xattn,star,starx"),
      length: text("4096"),
      block_size: text("1024"),
      samples: text("20"),
      device: text("cpu"),
      batch_size: text("auto"),
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { before, output } = values;
  if (before === undefined || output === undefined) {
    throw new UsageError("--before and --output are required");
  }
  const tasks = values.tasks.split(",");
  const unknown = tasks.find((task) => RULER_TASKS[task] === undefined);
  if (unknown !== undefined) {
    throw new UsageError(`--tasks: must be RULER's: current value is '${unknown}'`);
  }
  const sizes = {
    length: whole("--length", values.length),
    blockTokens: whole("--block_size", values.block_size),
    samples: whole("--samples", values.samples),
  };
  const { model_path: model, device, batch_size: batchSize } = values;
  const modes = values.modes.split(",");
  return { before, output, model, tasks, modes, ...sizes, device, batchSize };
}

function whole(flag: string, text: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw new UsageError(`${flag}: must be a whole number above 0: current value is '${text}'`);
}

/** Prints a line per sample that differs, and a line per mode and task. */
async function compare(comparison: Comparison): Promise<void> {
  const { tasks, modes, output } = comparison;
  using tokenizer = await loadTokenizer(comparison.model);
  await Deno.mkdir(output, { recursive: true });
  let [equal, all] = [0, 0];
  for (const task of tasks) {
    const input = await makeSamples(task, comparison);
    for (const mode of modes) {
      const tokens = RULER_TASKS[task]?.tokensToGenerate ?? 1;
      const run = { task, mode, input, output: `${mode}-${task}`, tokens, topLogits: 2 };
      const pairs = await answers(run, comparison);
      const differing = pairs.filter((pair) => textOf(pair.before) !== textOf(pair.now));
      const same = pairs.length - differing.length;
      const difference = Math.max(...pairs.map(logitDifference));
      write(
        `${mode}, ${task}: ${same} of ${pairs.length} texts are equal; the first two logits ` +
          `differ by up to ${difference.toExponential(1)}\n`,
      );
      await describe(differing, { run, comparison, tokenizer });
      equal += same;
      all += pairs.length;
    }
  }
  write(`${equal} of ${all} texts are equal\n`);
}

/** RULER's samples, made once. */
async function makeSamples(task: string, comparison: Comparison): Promise<string> {
  const { output, model, length, samples } = comparison;
  const folder = `${output}/data`;
  const path = `${folder}/${task}/validation.jsonl`;
  if (await Deno.stat(path).then(() => true, () => false)) return path;
  const flags = ["--save_dir", folder, "--task", task, "--tokenizer_path", model];
  const sizes = ["--max_seq_length", String(length), "--num_samples", String(samples)];
  await runCli(ROOT, ["prepare", ...flags, ...sizes, "--model_template_type", TEMPLATE]);
  return path;
}

/** Runs both builds. @returns Their records, in the order of the file. */
async function answers(run: Run, comparison: Comparison): Promise<Pair[]> {
  const { before, output, model, samples, device, blockTokens, batchSize } = comparison;
  const { stopWords } = MODEL_TEMPLATES[TEMPLATE] ?? { stopWords: [] };
  const isCut = run.mode.startsWith("star");
  const builds = [
    { root: before, name: "before", flags: [] },
    // The build before knew no end-of-sequence ids.
    { root: ROOT, name: "now", flags: ["--ignore_eos", "--batch_size", batchSize] },
  ];
  const records: Answer[][] = [];
  for (const { root, name, flags } of builds) {
    const folder = `${output}/${name}`;
    await Deno.mkdir(folder, { recursive: true });
    const path = `${folder}/${run.output}.jsonl`;
    await runCli(root, [
      ...["infer", "--model_path", model, "--attn_type", run.mode, "--device", device],
      ...(isCut ? ["--block_size", String(blockTokens)] : []),
      ...["--tokens_to_generate", String(run.tokens), "--stop_words", stopWords.join(",")],
      ...["--top_logits", String(run.topLogits), "--num_samples", String(samples)],
      ...["--input_path", run.input, "--output_path", path, ...flags],
    ]);
    records.push(await readRecords(path));
  }
  const [earlier = [], later = []] = records;
  return earlier.map((record, i) => {
    const now = later[i];
    if (now?.index !== record.index) throw new TypeError(`${run.output}: records do not match`);
    return { before: record, now };
  });
}

async function readRecords(path: string): Promise<Answer[]> {
  const lines = (await Deno.readTextFile(path)).trimEnd().split("\n");
  return lines.map((line) => JSON.parse(line));
}

/** Asks both builds again, with a query that ends where their answers begin to differ. */
async function describe(
  differing: readonly Pair[],
  context: { run: Run; comparison: Comparison; tokenizer: Tokenizer },
): Promise<void> {
  if (differing.length === 0) return;
  const { run, comparison, tokenizer } = context;
  const input = `${comparison.output}/differing-${run.output}.jsonl`;
  const lines = differing.map(({ before, now }) => {
    const common = before.generated_ids.slice(0, firstDifference({ before, now }));
    const { index, input_context, input_query } = now;
    const query = input_query + tokenizer.decode([...common]);
    return `${JSON.stringify({ index, input_context, input_query: query, output: "" })}\n`;
  });
  await Deno.writeTextFile(input, lines.join(""));
  const output = `differing-${run.output}`;
  // Which samples differ is found anew each time.
  for (const build of ["before", "now"]) {
    await Deno.remove(`${comparison.output}/${build}/${output}.jsonl`).catch(() => {});
  }
  const again = await answers({ ...run, input, output, tokens: 1 }, comparison);
  for (const [i, pair] of differing.entries()) {
    const place = firstDifference(pair);
    const sides = (["before", "now"] as const).map((build) => {
      const id = pair[build].generated_ids[place];
      const { top_logits: [first, second] = [] } = again[i]?.[build] ?? {};
      const margin = (first?.[1] ?? NaN) - (second?.[1] ?? NaN);
      const text = id === undefined ? "the end" : JSON.stringify(tokenizer.decode([id]));
      const note = first?.[0] === id
        ? ""
        : " (the prompt with the answer's beginning gives another)";
      return `${build} ${text}, margin ${margin.toFixed(4)}${note}`;
    });
    write(`  sample ${pair.now.index}, token ${place}: ${sides.join("; ")}\n`);
  }
}

/** The answer without the white space around it, which only the later build takes away. */
function textOf({ pred }: Answer): string {
  return pred.trim();
}

/** How far the two largest logits of the first token are apart; infinite if they are others. */
function logitDifference({ before, now }: Pair): number {
  const differences = before.top_logits.map(([id, logit], i) => {
    const [otherId, other = Infinity] = now.top_logits[i] ?? [];
    return id === otherId ? Math.abs(logit - other) : Infinity;
  });
  return Math.max(...differences);
}

/** The place of the first generated token that differs. */
function firstDifference({ before, now }: Pair): number {
  const place = before.generated_ids.findIndex((id, i) => id !== now.generated_ids[i]);
  return place < 0 ? before.generated_ids.length : place;
}

async function runCli(root: string, args: readonly string[]): Promise<void> {
  const command = new Deno.Command("deno", {
    args: ["run", "-A", "cli.ts", ...args],
    cwd: root,
    stdout: "null",
    stderr: "piped",
  });
  const { success, stderr } = await command.output();
  if (success) return;
  throw new TypeError(`${args.join(" ")} in ${root}: ${new TextDecoder().decode(stderr)}`);
}

function write(text: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(text));
}
