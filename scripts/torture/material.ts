/**
 * What is damaged: a small model, samples, finished results of `infer` and of `ruler`.
 *
 * @module
 */
import { fuzzModel, type ModelFiles, safetensorsBytes } from "./fuzz_model.ts";
import { readTexts } from "./records.ts";

/** Files by their path. */
export type Files = ReadonlyMap<string, string | Uint8Array>;

/** All that is damaged. */
export interface Material {
  readonly files: ModelFiles;
  /** The model's folder. */
  readonly model: Files;
  /** Lines of `in.jsonl`. */
  readonly samples: readonly string[];
  /** What `infer` left: `out.jsonl` and `run.json`. */
  readonly results: Files;
  /** What `ruler` left below `results`. */
  readonly experiment: Files;
}

/** The command line of `infer`. */
export const INFER: readonly string[] = [
  ...["infer", "-p", "model", "-a", "dense", "--tokens_to_generate", "2", "--threads", "1"],
  ...["--device", "cpu", "--ignore_eos", "--input_path", "in.jsonl", "--output_path", "out.jsonl"],
];
/** The command line of `ruler`. */
export const RULER: readonly string[] = [
  ...["ruler", "-n", "x", "-p", "model", "-pc", "base", "-a", "dense", "-l", "1500", "-t", "fwe"],
  ...["--num_samples_per_task", "2", "--output_dir", "results", "--device", "cpu", "--threads"],
  ...["1", "--no_report"],
];
/** The folder of what `ruler` leaves. */
export const EXPERIMENT = "results/x_dense";

const CHAT = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}";

/** Makes it, in the folder that is the current one. */
export async function makeMaterial(
  run: (args: readonly string[]) => Promise<{ code: number; stderr: string }>,
): Promise<Material> {
  const files = fuzzModel();
  const { config, tokenizer, weights } = files;
  const model: Files = new Map<string, string | Uint8Array>([
    ["model/config.json", JSON.stringify(config)],
    ["model/tokenizer.json", JSON.stringify(tokenizer)],
    ["model/tokenizer_config.json", JSON.stringify({ bos_token: "<s>", chat_template: CHAT })],
    ["model/generation_config.json", JSON.stringify({ eos_token_id: [314, 317] })],
    ["model/model.safetensors", safetensorsBytes(JSON.stringify(weights.header), weights.data)],
  ]);
  const samples = [0, 1, 2, 3].map((index) =>
    JSON.stringify({
      index,
      input_context: `The sky is blue ${index}. \u00e9\u{1f600}\n`.repeat(1 + index),
      input_query: "What is the sky?",
      outputs: ["blue"],
    })
  );
  await writeAll(".", model);
  await writeAll(".", new Map([["in.jsonl", linesOf(samples)]]));
  for (const args of [INFER, RULER]) {
    const { code, stderr } = await run(args);
    if (code !== 0) throw new Error(`A run that nobody disturbs ends with ${code}: ${stderr}`);
  }
  return {
    ...{ files, model, samples },
    results: await readTexts(".", (path) => path === "out.jsonl" || path === "run.json"),
    experiment: await readTexts(".", (path) => path.startsWith(EXPERIMENT)),
  };
}

/** Writes files below a folder. */
export async function writeAll(folder: string, files: Files): Promise<void> {
  for (const [path, content] of files) {
    const whole = `${folder}/${path}`;
    await Deno.mkdir(whole.slice(0, whole.lastIndexOf("/")), { recursive: true });
    if (typeof content === "string") await Deno.writeTextFile(whole, content);
    else await Deno.writeFile(whole, content);
  }
}

/** Lines as a file. */
export function linesOf(lines: readonly string[]): string {
  return `${lines.join("\n")}\n`;
}
