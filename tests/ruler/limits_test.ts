/**
 * Generators with tokenizers and sources as nobody should have them: an end in one clear line.
 *
 * @module
 */
import { FileError, UsageError } from "../../lib/errors.ts";
import {
  loadSources,
  MODEL_TEMPLATES,
  prepareSamples,
  prepareSamples2026,
  RULER_TASKS,
  RULER_TASKS_2026,
  type TaskSources,
} from "../../ruler/mod.ts";
import { assert, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const WORDS = Array.from({ length: 300 }, (_, i) => `word${i}`);
const VERBS = Array.from({ length: 3000 }, (_, i) => `verb${i}`);
const WORD_LISTS = { kind: "builtin", nouns: WORDS, adjectives: WORDS, verbs: VERBS } as const;
const SOURCES: TaskSources = {
  words: WORD_LISTS,
  essay: Array.from({ length: 200_000 }, () => "Word."),
  splitSentences: (text) => text.split(" "),
  questions: {
    questions: [{ query: "?", answers: ["a"], documents: [0], related: [] }],
    documents: Array.from({ length: 3000 }, (_, i) => `document ${i}`),
  },
};

for (const [task, { settings }] of Object.entries(RULER_TASKS)) {
  Deno.test(`prepareSamples() gives ${task} up if longer texts have no more tokens`, async () => {
    const template = MODEL_TEMPLATES.base;
    assert(template !== undefined, "there is a base template");
    let counts = 0;
    const countTokens = (): number => {
      counts++;
      return 100;
    };
    const samples = prepareSamples({
      ...{ task, settings, template, maxTokens: 100_000, sampleCount: 1, chunkIndex: 0 },
      ...{ chunkCount: 1, removeNewlineTab: false, countTokens, sources: SOURCES },
    });
    await assertRejects(
      () => samples.next(),
      UsageError,
      "as longer texts must have more tokens: 100 longer ones have at most 100",
    );
    assert(counts < 300, `${counts} counts`);
  });
}

for (const [task, { settings }] of Object.entries(RULER_TASKS_2026)) {
  Deno.test(`prepareSamples2026() gives ${task} up if longer texts have no more tokens`, async () => {
    const template = MODEL_TEMPLATES.base;
    assert(template !== undefined, "there is a base template");
    const samples = prepareSamples2026({
      ...{ task, settings, template, maxTokens: 100_000, sampleCount: 1, chunkIndex: 0 },
      ...{ chunkCount: 1, removeNewlineTab: false, countTokens: () => 100 },
      sources: { ...SOURCES, words: { ...WORD_LISTS, more: [...VERBS, ...VERBS] } },
    });
    await assertRejects(
      () => samples.next(),
      UsageError,
      "as longer texts must have more tokens",
    );
  });
}

Deno.test("loadSources() names questions whose fields are no texts", async () => {
  const good = { question: "q", answer: "a", context: [["t", ["s"]]] };
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ ...good, question: 5 }, "a question must be a text: current value is 5"],
    [{ ...good, answer: ["a"] }, "an answer must be a text: current value is an array of 1"],
    [{ ...good, context: [["t", [1]]] }, "a sentence must be a text: current value is 1"],
    [{ ...good, context: [[null, ["s"]]] }, "a title must be a text: current value is null"],
  ];
  for (const [entry, line] of cases) {
    await inFolder({ "hotpotqa.json": JSON.stringify([entry]) }, async (folder) => {
      await assertRejects(
        () => loadSources({ generator: "qa", dataset: "hotpotqa" }, { folder }),
        FileError,
        line,
      );
    });
  }
  const squad = { data: [{ paragraphs: [{ context: 3, qas: [] }] }] };
  await inFolder({ "squad.json": JSON.stringify(squad) }, async (folder) => {
    await assertRejects(
      () => loadSources({ generator: "qa", dataset: "squad" }, { folder }),
      FileError,
      "a paragraph must be a text: current value is 3",
    );
  });
});
