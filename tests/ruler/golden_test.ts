import { tokenCounter } from "../../lib/model/token_counter.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import {
  type CountTokens,
  formatSample,
  loadSources,
  MODEL_TEMPLATES,
  prepareSamples,
  RULER_TASKS,
  type TaskSettings,
} from "../../ruler/mod.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { sharedFolder } from "../helpers/shared.ts";

/** A file that the original program wrote. */
interface GoldenFile {
  readonly file: string;
  /** Lines that are kept of it. */
  readonly lines: number;
  readonly command: string;
  /** Where the task is none of RULER's 13. */
  readonly task_config?: {
    readonly task: string;
    readonly args: Readonly<Record<string, string | number>>;
  };
}

const shared = sharedFolder();

function goldenFiles(): readonly GoldenFile[] {
  const text = Deno.readTextFileSync(`${shared}/ruler/manifest.json`);
  return (JSON.parse(text) as { golden: readonly GoldenFile[] }).golden;
}

function settingsOf(task: string, config: GoldenFile["task_config"]): TaskSettings {
  if (config === undefined) {
    const known = RULER_TASKS[task];
    assert(known !== undefined, `${task} must be a task`);
    return known.settings;
  }
  const { args } = config;
  switch (config.task) {
    case "niah":
      return {
        generator: "niah",
        haystack: args["type_haystack"] as "repeat" | "essay" | "needle",
        keyType: args["type_needle_k"] as "words" | "uuids",
        valueType: args["type_needle_v"] as "words" | "numbers" | "uuids",
        keys: Number(args["num_needle_k"]),
        values: Number(args["num_needle_v"]),
        queries: Number(args["num_needle_q"]),
      };
    case "variable_tracking":
      return {
        generator: "variable_tracking",
        chains: Number(args["num_chains"]),
        hops: Number(args["num_hops"]),
      };
    case "common_words_extraction":
      return {
        generator: "common_words_extraction",
        commonFrequency: Number(args["freq_cw"]),
        otherFrequency: Number(args["freq_ucw"]),
        commonCount: Number(args["num_cw"]),
      };
    default:
      return { generator: "freq_words_extraction", alpha: Number(args["alpha"]) };
  }
}

/** The first lines that this project writes for the command of a file. */
async function linesFor(golden: GoldenFile, countTokens: CountTokens): Promise<string> {
  const flag = (name: string): string | undefined =>
    new RegExp(`--${name} (\\S+)`).exec(golden.command)?.[1];
  const task = flag("task") ?? "";
  const settings = settingsOf(task, golden.task_config);
  const template = flag("model_template_type");
  assert(template === "base" || template === "llama3", "the template must be known");
  const prompt = MODEL_TEMPLATES[template];
  assert(prompt !== undefined, "the template must be known");
  const samples = prepareSamples({
    task,
    settings,
    template: prompt,
    maxTokens: Number(flag("max_seq_length")),
    sampleCount: Number(flag("num_samples")),
    chunkIndex: Number(flag("chunk_idx") ?? 0),
    chunkCount: Number(flag("chunk_amount") ?? 1),
    removeNewlineTab: golden.command.includes("--remove_newline_tab"),
    countTokens,
    sources: await loadSources(settings, { folder: `${shared}/ruler/data` }),
  });
  const lines: string[] = [];
  for await (const sample of samples) {
    lines.push(formatSample(sample));
    if (lines.length === golden.lines) break;
  }
  return lines.join("");
}

Deno.test({
  name: "prepareSamples() gives the original's bytes for every expected file",
  ignore: shared === undefined,
  async fn(t) {
    using tokenizer = await loadTokenizer(`${shared}/tokenizers/llama3`);
    const countTokens = tokenCounter(tokenizer);
    const files = goldenFiles();
    assertEquals(files.length, 20);
    for (const golden of files) {
      await t.step(golden.file, async () => {
        const actual = await linesFor(golden, countTokens);
        const expected = await Deno.readTextFile(`${shared}/ruler/${golden.file}`);
        assertEquals(actual, expected);
      });
    }
  },
});
