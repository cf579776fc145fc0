/**
 * Runs of the `ruler` command with models and data that need no computing.
 *
 * @module
 */
import { runRuler } from "../../commands/ruler/ruler.ts";
import type { RulerOptions } from "../../commands/ruler/options.ts";
import type { DataMaker } from "../../commands/ruler/data.ts";
import { type FakeModels, fakeModels, fakeScreen, NO_INTERRUPTS } from "./fake_model.ts";
import { MODEL, STAR } from "./prompts.ts";

/** Makes samples whose answer is their query; `niah_single_2` lacks its data. */
export function fakeMaker(made: string[]): DataMaker {
  return {
    setup: () => ({ tokensToGenerate: 4, stopWords: ["<|eot_id|>"] }),
    make: async ({ task, maxTokens, sampleCount, path }) => {
      if (task === "niah_single_2") return { isMade: false, reason: "the essays are missing" };
      made.push(`${task} ${maxTokens}`);
      const lines = Array.from({ length: sampleCount }, (_, index) => {
        const input = { input_context: `${task} ${maxTokens}`, input_query: `needle ${index}` };
        return `${JSON.stringify({ index, ...input, outputs: [`needle ${index}`] })}\n`;
      });
      await Deno.writeTextFile(path, lines.join(""));
      return { isMade: true, words: task === "niah_multikey_1" ? "builtin" : undefined };
    },
  };
}

/** Options of a small run whose results lie in a folder. */
export function optionsIn(folder: string, changes: Partial<RulerOptions> = {}): RulerOptions {
  return {
    modelName: "tiny",
    modelPath: MODEL,
    template: "llama3",
    plan: { ...STAR, mode: "starx" },
    givenAnchorTokens: -1,
    lengths: [512],
    tasks: ["niah_single_1", "vt"],
    pregenDir: undefined,
    sampleCount: 2,
    processCount: 3,
    outputDir: `${folder}/results`,
    sourceDir: undefined,
    cweFrequencies: [300, 30],
    device: "auto",
    dtype: "bf16",
    threads: 0,
    timeoutMs: 60_000,
    ...changes,
  };
}

/** What a run printed, logged and made. */
export interface Outcome {
  readonly table: string;
  readonly logged: readonly string[];
  readonly made: readonly string[];
}

/** Runs `ruler` with a fake maker. */
export async function ruler(options: RulerOptions, models: FakeModels): Promise<Outcome> {
  const screen = fakeScreen();
  const made: string[] = [];
  await runRuler(options, {
    screen,
    cleanup: NO_INTERRUPTS,
    loadModel: models.load,
    openDataMaker: () => Promise.resolve(fakeMaker(made)),
  });
  return { table: screen.printed.join(""), logged: screen.logged, made };
}

/** Models that give the right answer. */
export const right = (): FakeModels => fakeModels(({ query }) => query);
