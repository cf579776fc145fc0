import { createHash } from "node:crypto";
import { tokenCounter } from "../../lib/model/token_counter.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import {
  type CountTokens,
  cutQuestion,
  formatSample2026,
  loadSources,
  MODEL_TEMPLATES,
  prepareSamples2026,
  RULER_TASKS_2026,
  type TaskSettings,
} from "../../ruler/mod.ts";
import { parseTasks } from "../../ruler/task_file.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { sharedFolder } from "../helpers/shared.ts";

/** A file that the original program wrote, known by its hash. */
interface KnownFile {
  readonly task: string;
  readonly maxTokens: number;
  readonly samples: number;
  readonly template: string;
  /** Which chunk of how many. */
  readonly chunk: readonly [number, number];
  readonly seed: number;
  readonly removeNewlineTab: boolean;
  /** `short`: with sources that end before the length is reached. */
  readonly data: "full" | "short";
  readonly sha256: string;
}

interface Goldens {
  /** Tasks that are none of RULER's 13, as a task file has them. */
  readonly tasks: Readonly<Record<string, unknown>>;
  readonly files: readonly KnownFile[];
}

const shared = sharedFolder();

async function readGoldens(): Promise<Goldens> {
  const url = new URL("../golden/ruler_2026.json", import.meta.url);
  return JSON.parse(await Deno.readTextFile(url)) as Goldens;
}

/** The sources that the original was given, in a folder: long and short ones. */
async function inSources(run: (folders: Record<string, string>) => Promise<void>): Promise<void> {
  const data = `${shared}/ruler/data`;
  const read = async (name: string): Promise<unknown> =>
    JSON.parse(await Deno.readTextFile(`${data}/${name}`));
  const { text } = await read("PaulGrahamEssays.json") as { text: string };
  const hotpotqa = await read("hotpotqa.json") as unknown[];
  const squad = await read("squad.json") as { data: unknown[] };
  const words = Object.fromEntries(
    Array.from(
      { length: 20_000 },
      (_, i) => [String(i), `${"abcdefghij"[i % 10]?.repeat(1 + i % 4)}${i}`],
    ),
  );
  const short = {
    "PaulGrahamEssays.json": JSON.stringify({ text: text.slice(0, 30_000) }),
    "hotpotqa.json": JSON.stringify(hotpotqa.slice(0, 6)),
    "squad.json": JSON.stringify({ data: squad.data.slice(0, 1) }),
  };
  await inFolder({ "full/english_words.json": JSON.stringify(words) }, async (folder) => {
    for (const name of ["full", "short"]) {
      await Deno.mkdir(`${folder}/${name}`, { recursive: true });
      for await (const { name: file } of Deno.readDir(data)) {
        await Deno.symlink(`${data}/${file}`, `${folder}/${name}/${file}`);
      }
    }
    for (const [name, content] of Object.entries(short)) {
      await Deno.remove(`${folder}/short/${name}`);
      await Deno.writeTextFile(`${folder}/short/${name}`, content);
    }
    await run({ full: `${folder}/full`, short: `${folder}/short` });
  });
}

async function hashOf(
  file: KnownFile,
  options: { settings: TaskSettings; folder: string; countTokens: CountTokens },
): Promise<string> {
  const { settings, folder, countTokens } = options;
  const template = MODEL_TEMPLATES[file.template];
  assert(template !== undefined, `${file.template} must be a template`);
  const hash = createHash("sha256");
  const made = prepareSamples2026({
    ...{ task: file.task, settings, template, maxTokens: file.maxTokens, countTokens },
    sampleCount: file.samples,
    chunkIndex: file.chunk[0],
    chunkCount: file.chunk[1],
    randomSeed: file.seed,
    removeNewlineTab: file.removeNewlineTab,
    sources: await loadSources(settings, { folder, generators: "2026" }),
  });
  for await (const sample of made) hash.update(formatSample2026(sample));
  return hash.digest("hex");
}

Deno.test({
  name: "prepareSamples2026() gives NVIDIA/RULER's bytes for every expected file",
  ignore: shared === undefined,
  async fn(t) {
    using tokenizer = await loadTokenizer(`${shared}/tokenizers/llama3`);
    const countTokens = tokenCounter(tokenizer);
    const { tasks, files } = await readGoldens();
    const own = parseTasks(tasks, "goldens", { generators: "2026" });
    const names = [...Object.keys(RULER_TASKS_2026), ...own.keys()];
    await inSources(async (folders) => {
      for (const task of names) {
        await t.step(task, async () => {
          const settings = (own.get(task) ?? RULER_TASKS_2026[task])?.settings;
          assert(settings !== undefined, `${task} must be a task`);
          for (const file of files.filter((file) => file.task === task)) {
            const folder = folders[file.data] ?? "";
            const actual = await hashOf(file, { settings, folder, countTokens });
            assertEquals(actual, file.sha256, JSON.stringify(file));
          }
        });
      }
    });
    assertEquals(new Set(files.map(({ task }) => task)), new Set(names));
  },
});

Deno.test("prepareSamples2026() stops where NVIDIA/RULER ends with an error", async () => {
  const template = MODEL_TEMPLATES.base;
  assert(template !== undefined, "there is a base template");
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    // Twelve needles, but a search that begins with five sentences.
    [
      { task: "niah", args: { type_haystack: "noise", num_needle_k: 6, num_needle_v: 2 } },
      "Cannot make samples of own as a sample must fit the sequence length",
    ],
    // The worked example hides its chain in five sentences first.
    [
      { task: "variable_tracking", args: { num_hops: 5 } },
      "Cannot make samples of own's worked example as a sample must fit",
    ],
    [
      { task: "freq_words_extraction", args: { coded_wordlen: 1, vocab_size: 20 } },
      "Cannot make samples of own as words of 1 letters must be at least twice as many as its 20",
    ],
    [
      { task: "common_words_extraction" },
      "lists of 4096 words need english_words.json beside the word lists",
    ],
  ];
  const words = { kind: "ruler", nouns: ["a"], adjectives: ["b"], verbs: ["c"] } as const;
  for (const [entry, line] of cases) {
    const settings = parseTasks({ own: entry }, "t", { generators: "2026" }).get("own")?.settings;
    assert(settings !== undefined, "the file has the task");
    const samples = prepareSamples2026({
      ...{ task: "own", settings, template, maxTokens: 3000, sampleCount: 1, chunkIndex: 0 },
      ...{ chunkCount: 1, removeNewlineTab: false, sources: { words } },
      countTokens: (text) => text.length / 4,
    });
    await assertRejects(() => Array.fromAsync(samples), Error, line);
  }
});

Deno.test("cutQuestion() cuts before the last question, and none that is no task's", () => {
  const qa = "Answer the question based on the given documents. Only give me the answer and so on.";
  const documents = `${qa}\n\nDocument 1:\nx\n\n`;
  assertEquals(cutQuestion(`${documents}${qa} Question: y`), {
    context: documents,
    question: `${qa} Question: y`,
  });
  assertEquals(cutQuestion(`${qa} Question: y`), undefined);
  assertEquals(cutQuestion("a text of one's own"), undefined);
});
