/**
 * Times the preparation of RULER's tasks and prints seconds per task:
 * `deno task bench:ruler --tokenizer_path FOLDER`.
 *
 * A task's time covers reading its source data, making its samples, counting their tokens, and
 * writing the file; the tokenizer is loaded once, and that is a line of its own.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeData } from "../commands/ruler/make_data.ts";
import { taskNamed } from "../commands/ruler/tasks_file.ts";
import { errorText, EXIT_CODES, UsageError } from "../lib/errors.ts";
import { checkTemplateName, chooseTemplate } from "../commands/ruler/template.ts";
import { loadTokenizer } from "../lib/model/tokenizer.ts";
import { tokenCounter } from "../lib/model/token_counter.ts";
import { RULER_TASKS } from "../ruler/tasks.ts";

const HELP = `Times the preparation of RULER's tasks.

Usage: deno task bench:ruler [flags]

  --tokenizer_path FOLDER  holds a tokenizer.json (default models/starx-tiny)
  --source_dir FOLDER      RULER's source data (default: as 'prepare' finds it)
  --task NAME              one task (default: all 13)
  --max_seq_length N       default 16384
  --num_samples N          default 100
  --model_template_type T  base or llama3 (default llama3)
  --json                   one JSON line per task
`;

interface BenchOptions {
  readonly tokenizerPath: string;
  readonly sourceDir: string | undefined;
  readonly tasks: readonly string[];
  readonly maxTokens: number;
  readonly sampleCount: number;
  readonly template: string;
  readonly isJson: boolean;
}

/** What is printed of a task. */
interface TaskTime {
  readonly task: string;
  readonly seconds: number;
  /** Why it could not be prepared. */
  readonly skipped?: string;
}

/** The command line; `undefined` asks for the help. */
function parseFlags(args: string[]): BenchOptions | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      tokenizer_path: {
        ...text,
        default: fileURLToPath(new URL("../models/starx-tiny", import.meta.url)),
      },
      source_dir: text,
      task: text,
      max_seq_length: { ...text, default: "16384" },
      num_samples: { ...text, default: "100" },
      model_template_type: { ...text, default: "llama3" },
      json: { type: "boolean", default: false },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { task, model_template_type: template } = values;
  if (task !== undefined) taskNamed(task);
  checkTemplateName(template, "--model_template_type");
  return {
    tokenizerPath: values.tokenizer_path,
    sourceDir: values.source_dir,
    tasks: task === undefined ? Object.keys(RULER_TASKS) : [task],
    maxTokens: wholeNumber("--max_seq_length", values.max_seq_length),
    sampleCount: wholeNumber("--num_samples", values.num_samples),
    template,
    isJson: values.json,
  };
}

function wholeNumber(flag: string, text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= 1) return value;
  throw new UsageError(`${flag}: must be a whole number above 0: current value is ${text}`);
}

/** Prepares the tasks one after another, in a folder that is removed afterwards. */
async function* timeTasks(options: BenchOptions): AsyncGenerator<TaskTime> {
  const { tasks, sourceDir, maxTokens, sampleCount, template } = options;
  const loadMs = performance.now();
  using tokenizer = await loadTokenizer(options.tokenizerPath);
  const countTokens = tokenCounter(tokenizer);
  const chosen = await chooseTemplate(template, {
    folder: options.tokenizerPath,
    tokenizer,
    flag: "--model_template_type",
  });
  yield { task: "tokenizer", seconds: secondsSince(loadMs) };
  const folder = await Deno.makeTempDir({ prefix: "starx-bench-" });
  try {
    for (const task of tasks) {
      const startMs = performance.now();
      const made = await makeData({
        task,
        template: chosen,
        maxTokens,
        sampleCount,
        sourceDir,
        chunkIndex: 0,
        chunkCount: 1,
        removeNewlineTab: false,
        cweFrequencies: [],
        countTokens,
        path: `${folder}/${task}.jsonl`,
      });
      const seconds = secondsSince(startMs);
      yield made.isMade ? { task, seconds } : { task, seconds, skipped: made.reason };
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

function secondsSince(startMs: number): number {
  return (performance.now() - startMs) / 1000;
}

async function write(text: string): Promise<void> {
  await Deno.stdout.write(new TextEncoder().encode(text));
}

async function bench(options: BenchOptions): Promise<void> {
  const { sampleCount, maxTokens, isJson } = options;
  if (!isJson) await write(`seconds for ${sampleCount} samples of ${maxTokens} tokens\n`);
  let total = 0;
  for await (const time of timeTasks(options)) {
    total += time.seconds;
    if (isJson) await write(`${JSON.stringify(time)}\n`);
    else await write(`${time.task.padEnd(16)}${time.skipped ?? time.seconds.toFixed(2)}\n`);
  }
  if (!isJson) await write(`${"total".padEnd(16)}${total.toFixed(2)}\n`);
}

async function main(): Promise<number> {
  try {
    const options = parseFlags(Deno.args);
    if (options === undefined) await write(HELP);
    else await bench(options);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`bench_ruler: ${errorText(error)}\n`));
    const isUsage = error instanceof UsageError || error instanceof TypeError;
    return isUsage ? EXIT_CODES.usage : EXIT_CODES.file;
  }
}

if (import.meta.main) Deno.exit(await main());
