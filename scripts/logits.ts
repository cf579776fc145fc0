/**
 * Runs prompts of token ids through a model and writes logits and greedy ids as JSON, for comparisons
 * with other programs: `scripts/compare_hf.py` and `scripts/compare_families.py` call it. The model
 * needs no tokenizer.
 *
 * A prompt's last token is its query, the others are its context, so that prefill and decoding both
 * take part.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { DeviceWish } from "../lib/device/open.ts";
import { errorText, EXIT_CODES, UsageError } from "../lib/errors.ts";
import { type Answer, openPhases, type Phases } from "../lib/engine/phases.ts";

const HELP = `Writes the logits and greedy ids of prompts.

Usage: deno run -A scripts/logits.ts --model_path FOLDER --input FILE --output FILE [flags]

  --model_path FOLDER  a model in Hugging Face's format
  --input FILE         JSON: [{"ids": [...], "tokens_to_generate": N, "top_logits": K}, ...]
  --output FILE        JSON: [{"ids": [...], "logits": [[id, logit], ...]}, ...]
  --device NAME        auto, cpu or cuda (default auto)
  --dtype TYPE         bf16 or f32 (default bf16)
`;

/** A prompt of the input file. */
interface IdPrompt {
  readonly ids: readonly number[];
  readonly tokens_to_generate: number;
  readonly top_logits: number;
}

/** The command line. */
interface LogitsOptions {
  readonly folder: string;
  readonly input: string;
  readonly output: string;
  readonly device: DeviceWish;
  readonly dtype: "bf16" | "f32";
}

if (import.meta.main) Deno.exit(await main());

async function main(): Promise<number> {
  try {
    const options = readFlags(Deno.args);
    if (options === undefined) await Deno.stdout.write(new TextEncoder().encode(HELP));
    else await writeLogits(options);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`logits: ${errorText(error)}\n`));
    const isUsage = error instanceof UsageError || error instanceof TypeError;
    return isUsage ? EXIT_CODES.usage : EXIT_CODES.device;
  }
}

async function writeLogits(options: LogitsOptions): Promise<void> {
  const { folder, input, output, device, dtype } = options;
  const prompts = JSON.parse(await Deno.readTextFile(input)) as readonly IdPrompt[];
  using phases = await openPhases(folder, { device, precision: dtype });
  const answers: unknown[] = [];
  for (const prompt of prompts) {
    const { ids, topLogits: logits } = await answer(phases, prompt);
    answers.push({ ids, logits });
  }
  await Deno.writeTextFile(output, JSON.stringify(answers));
}

async function answer(phases: Phases, prompt: IdPrompt): Promise<Answer> {
  const { ids, tokens_to_generate: tokensToGenerate, top_logits: topLogits } = prompt;
  const all = Int32Array.from(ids);
  const room = tokensToGenerate + 1;
  using context = await phases.encode(all.subarray(0, all.length - 1), { room });
  const queryIds = all.subarray(all.length - 1);
  return await phases.answer(context, { queryIds, tokensToGenerate, stopIds: [], topLogits });
}

function readFlags(args: string[]): LogitsOptions | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      model_path: text,
      input: text,
      output: text,
      device: { ...text, default: "auto" },
      dtype: { ...text, default: "bf16" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { model_path: folder, input, output, device, dtype } = values;
  if (folder === undefined || input === undefined || output === undefined) {
    throw new UsageError("--model_path, --input and --output are required");
  }
  if (device !== "auto" && device !== "cpu" && device !== "cuda") {
    throw new UsageError(`--device: must be auto, cpu or cuda: current value is '${device}'`);
  }
  if (dtype !== "bf16" && dtype !== "f32") {
    throw new UsageError(`--dtype: must be bf16 or f32: current value is '${dtype}'`);
  }
  return { folder, input, output, device, dtype };
}
