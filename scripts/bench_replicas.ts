/**
 * Times one copy of a model and several, in turn, on the same prompts:
 * `deno run -A scripts/bench_replicas.ts --model_path FOLDER [--replicas 2] [--length 8192]`.
 *
 * Each copy has prompts for `--rounds` full batches of its own, all of one length and of random
 * tokens; a batch before them is not counted. Prints a line of JSON per number of copies and the
 * ratio of samples a second, and checks that the answers are equal. Ends with 1 if they are not. With
 * `--json_path FILE` all that is appended to a file as one line.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { appendLine } from "../commands/bench/options.ts";
import type { DeviceWish } from "../lib/device/open.ts";
import { loadModel, type Model } from "../lib/engine/load_model.ts";
import { uniformNumbers } from "../lib/random.ts";

/** What is measured. */
interface Question {
  readonly folder: string;
  readonly device: DeviceWish;
  readonly length: number;
  readonly tokens: number;
  readonly batchSize: number;
  readonly rounds: number;
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    options: {
      model_path: text,
      device: { ...text, default: "auto" },
      replicas: { ...text, default: "2" },
      length: { ...text, default: "8192" },
      tokens: { ...text, default: "128" },
      batch_size: { ...text, default: "16" },
      rounds: { ...text, default: "2" },
      json_path: text,
    },
  });
  const question: Question = {
    folder: values.model_path ?? "models/starx-tiny",
    device: values.device as DeviceWish,
    length: Number(values.length),
    tokens: Number(values.tokens),
    batchSize: Number(values.batch_size),
    rounds: Number(values.rounds),
  };
  const one = await measure(question, 1);
  const many = await measure(question, Number(values.replicas));
  const isEqual = one.answers.every((answer, i) => answer === many.answers[i]);
  const outcome = {
    ratio: Number((many.samplesPerS / one.samplesPerS).toFixed(3)),
    answers: isEqual ? "equal" : "different",
  };
  print(outcome);
  const record = { what: "replicas", one: one.figures, many: many.figures, ...outcome };
  await appendLine(values.json_path, JSON.stringify(record));
  return isEqual ? 0 : 1;
}

/** Samples a second, and the first prompts' answers. */
async function measure(
  question: Question,
  replicas: number,
): Promise<{
  samplesPerS: number;
  figures: Readonly<Record<string, unknown>>;
  answers: string[];
}> {
  const { folder, device, length, tokens, batchSize, rounds } = question;
  await using model = await loadModel(folder, {
    ...{ device, batchSize, replicas, expectedTokens: length + tokens },
  });
  const prompts = Array.from(
    { length: replicas * batchSize * rounds },
    (_, i) => promptIds(i, { length, vocabularySize: model.config.vocabularySize }),
  );
  const warmUp = prompts.slice(0, replicas * batchSize);
  await Promise.all(warmUp.map((ids) => answer(model, ids, 8)));
  const startMs = performance.now();
  const answers = await Promise.all(prompts.map((ids) => answer(model, ids, tokens)));
  const seconds = (performance.now() - startMs) / 1000;
  const samplesPerS = prompts.length / seconds;
  const figures = {
    replicas,
    device: model.deviceDescription,
    ...{ length, tokens, batch_size: batchSize, samples: prompts.length },
    seconds: Number(seconds.toFixed(3)),
    samples_per_s: Number(samplesPerS.toFixed(3)),
  };
  print(figures);
  return { samplesPerS, figures, answers };
}

function promptIds(
  seed: number,
  { length, vocabularySize }: { length: number; vocabularySize: number },
): Int32Array {
  const uniform = uniformNumbers(seed + 1);
  return Int32Array.from({ length }, () => Math.floor(uniform() * vocabularySize));
}

async function answer(model: Model, ids: Int32Array, tokensToGenerate: number): Promise<string> {
  const prompt = { context: ids.subarray(0, -1), query: ids.subarray(-1) };
  const { result } = await model.generate(prompt, { tokensToGenerate });
  return result.ids.join(" ");
}

function print(values: Readonly<Record<string, unknown>>): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(values)}\n`));
}
