import { createHash } from "node:crypto";
import { tokenCounter } from "../../lib/model/token_counter.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import {
  type CountTokens,
  formatSample,
  loadSources,
  MODEL_TEMPLATES,
  type ModelTemplate,
  prepareSamples,
  RULER_TASKS,
  type TaskSettings,
} from "../../ruler/mod.ts";
import { UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { sharedFolder } from "../helpers/shared.ts";

/** A file that the original program wrote, known by its hash. */
interface KnownFile {
  readonly task: string;
  readonly maxTokens: number;
  readonly samples: number;
  readonly template: string;
  /** Which chunk of how many. */
  readonly chunk: readonly [number, number];
  readonly removeNewlineTab: boolean;
  readonly sha256: string;
}

const shared = sharedFolder();

async function knownFiles(): Promise<readonly KnownFile[]> {
  const url = new URL("../golden/ruler_settings.json", import.meta.url);
  return (JSON.parse(await Deno.readTextFile(url)) as { files: readonly KnownFile[] }).files;
}

function templateOf(name: string): ModelTemplate {
  const template = MODEL_TEMPLATES[name];
  assert(template !== undefined, `${name} must be a template`);
  return template;
}

async function hashOf(file: KnownFile, countTokens: CountTokens): Promise<string> {
  const { task, maxTokens, samples, template, chunk, removeNewlineTab } = file;
  const known = RULER_TASKS[task];
  assert(known !== undefined, `${task} must be a task`);
  const { settings } = known;
  const hash = createHash("sha256");
  const made = prepareSamples({
    task,
    settings,
    template: templateOf(template),
    maxTokens,
    sampleCount: samples,
    chunkIndex: chunk[0],
    chunkCount: chunk[1],
    removeNewlineTab,
    countTokens,
    sources: await loadSources(settings, { folder: `${shared}/ruler/data` }),
  });
  for await (const sample of made) hash.update(formatSample(sample));
  return hash.digest("hex");
}

Deno.test({
  name: "prepareSamples() gives the original's bytes at other lengths, chunks and options",
  ignore: shared === undefined,
  async fn(t) {
    using tokenizer = await loadTokenizer(`${shared}/tokenizers/llama3`);
    const countTokens = tokenCounter(tokenizer);
    const files = await knownFiles();
    assertEquals(new Set(files.map(({ task }) => task)), new Set(Object.keys(RULER_TASKS)));
    for (const task of Object.keys(RULER_TASKS)) {
      await t.step(task, async () => {
        for (const file of files.filter((file) => file.task === task)) {
          assertEquals(await hashOf(file, countTokens), file.sha256, JSON.stringify(file));
        }
      });
    }
  },
});

Deno.test("prepareSamples() stops where the original crashes as needles do not fit", async () => {
  const settings: TaskSettings = {
    generator: "niah",
    haystack: "repeat",
    keyType: "numbers",
    valueType: "numbers",
    keys: 3,
    values: 2,
    queries: 1,
  };
  const samples = prepareSamples({
    task: "custom",
    settings,
    template: templateOf("base"),
    maxTokens: 3500,
    sampleCount: 1,
    chunkIndex: 0,
    chunkCount: 1,
    removeNewlineTab: false,
    countTokens: (text) => text.length,
    sources: {},
  });
  await assertRejects(
    () => Array.fromAsync(samples),
    UsageError,
    "Cannot make samples of custom as a sample must fit the sequence length",
  );
});
