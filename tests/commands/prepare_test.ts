/**
 * The `prepare` command: its file, its warnings, and what it refuses.
 *
 * @module
 */
import { type PrepareCommandOptions, runPrepare } from "../../commands/ruler/prepare.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { sharedFolder } from "../helpers/shared.ts";

const shared = sharedFolder();
const DATA = `${shared}/ruler/data`;

function optionsIn(
  folder: string,
  changes: Partial<PrepareCommandOptions> = {},
): PrepareCommandOptions {
  return {
    saveDir: `${folder}/save`,
    task: "niah_single_1",
    tokenizerPath: MODEL,
    maxTokens: 1024,
    sampleCount: 3,
    randomSeed: undefined,
    template: "base",
    removeNewlineTab: false,
    chunkIndex: 0,
    chunkCount: 1,
    sourceDir: `${folder}/none`,
    cweFrequencies: [300, 30],
    ...changes,
  };
}

interface Prepared {
  readonly records: readonly Record<string, unknown>[];
  readonly logged: readonly string[];
}

/** Runs it in a folder of its own. */
async function prepare(changes: Partial<PrepareCommandOptions>): Promise<Prepared> {
  let prepared: Prepared | undefined;
  await inFolder({}, async (folder) => {
    const logged: string[] = [];
    const options = optionsIn(folder, changes);
    await runPrepare(options, (line) => logged.push(line.replaceAll(folder, "")));
    const text = await Deno.readTextFile(`${folder}/save/${options.task}/validation.jsonl`);
    const records = text.trimEnd().split("\n").filter(Boolean).map((line) => JSON.parse(line));
    prepared = { records, logged };
  });
  assert(prepared !== undefined, "it must have run");
  return prepared;
}

Deno.test("runPrepare() writes one line per sample and says what the words are", async () => {
  const { records, logged } = await prepare({});
  assertEquals(records.map(({ index }) => index), [0, 1, 2]);
  assertEquals(Object.keys(records[0] ?? {}), [
    "index",
    "input_context",
    "input_query",
    "outputs",
    "length",
  ]);
  assertEquals(logged.length, 2);
  assertMatch(logged[0] ?? "", /^warning: keys are made of built-in words, .*'deno task data'/);
  assertEquals(logged[1], "Prepared /save/niah_single_1/validation.jsonl");
});

Deno.test("runPrepare() warns that --random_seed has no effect, and it has none", async () => {
  const { records, logged } = await prepare({ task: "fwe", randomSeed: 7 });
  assertMatch(logged[0] ?? "", /^warning: --random_seed has no effect/);
  assertEquals(records, (await prepare({ task: "fwe" })).records);
});

Deno.test("runPrepare() makes chunks with numbers from 0 on and other samples each", async () => {
  const whole = { task: "vt", sampleCount: 5, chunkCount: 2 };
  const [first, second] = [
    await prepare({ ...whole, chunkIndex: 0 }),
    await prepare({ ...whole, chunkIndex: 1 }),
  ];
  assertEquals(first.records.map(({ index }) => index), [0, 1, 2]);
  assertEquals(second.records.map(({ index }) => index), [0, 1]);
  assert(first.records[0]?.input_context !== second.records[0]?.input_context);
});

Deno.test("runPrepare() makes a chunk without samples an empty file", async () => {
  const { records } = await prepare({ task: "vt", sampleCount: 1, chunkCount: 3, chunkIndex: 2 });
  assertEquals(records, []);
});

Deno.test("runPrepare() removes line feeds and tabs after the length was counted", async () => {
  const plain = await prepare({ task: "fwe", template: "llama3" });
  const clean = await prepare({ task: "fwe", template: "llama3", removeNewlineTab: true });
  const words = (value: unknown) => String(value).trim().split(/\s+/).join(" ");
  assertEquals(
    clean.records,
    plain.records.map((record) => ({
      ...record,
      input_context: words(record.input_context),
      input_query: words(record.input_query),
    })),
  );
});

Deno.test({
  name: "runPrepare() makes cwe without answers as the original does, and with them by --cwe_freq",
  ignore: shared === undefined,
  async fn() {
    const cwe = { task: "cwe", maxTokens: 4096, sourceDir: DATA, sampleCount: 1 };
    const { records } = await prepare({ ...cwe, tokenizerPath: `${shared}/tokenizers/llama3` });
    assertEquals(records.map(({ outputs }) => outputs), [[]]);
    const usable = await prepare({
      ...cwe,
      tokenizerPath: `${shared}/tokenizers/llama3`,
      cweFrequencies: [30, 3],
    });
    assertEquals(usable.records.map(({ outputs }) => (outputs as unknown[]).length), [10]);
  },
});

/** What is refused, the class, and the whole message; `%` stands for the test's folder. */
const REFUSALS: readonly (readonly [
  changes: Partial<PrepareCommandOptions>,
  error: typeof UsageError | typeof FileError,
  message: string,
])[] = [
  [{ task: "niah" }, UsageError, "--task: must be one of niah_single_1, "],
  [{ template: "chit" }, UsageError, "--model_template_type: must be one of base, llama3, "],
  [
    { chunkIndex: 2, chunkCount: 2 },
    UsageError,
    "--chunk_idx: must be 0 to 1, below --chunk_amount",
  ],
  [
    { sampleCount: 0 },
    UsageError,
    "'--num_samples' must be a whole number above 0: current value is 0",
  ],
  [{ tokenizerPath: "%" }, FileError, "Cannot read %/tokenizer.json: it does not exist"],
  [
    { task: "niah_single_2" },
    FileError,
    "Cannot make samples of niah_single_2: PaulGrahamEssays.json and 4 more not found in %/none: " +
    "'deno task data' fetches it",
  ],
  [
    { task: "cwe" },
    FileError,
    "Cannot make samples of cwe: nounlist.txt and 2 more not found in %/none: 'deno task data'",
  ],
  [
    { task: "qa_1" },
    FileError,
    "Cannot make samples of qa_1: squad.json not found in %/none: 'deno task data' fetches it",
  ],
  ...["niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "fwe"].map((task) =>
    [
      { task, maxTokens: 30 },
      UsageError,
      `Cannot make samples of ${task} as a sample must fit the sequence length: ` +
      "current value is 30 tokens, which is too short",
    ] as const
  ),
];

for (const [changes, error, message] of REFUSALS) {
  Deno.test(`runPrepare() refuses ${JSON.stringify(changes)} and overwrites nothing`, async () => {
    const task = changes.task ?? "niah_single_1";
    const file = `save/${task}/validation.jsonl`;
    await inFolder({ [file]: "before\n" }, async (folder) => {
      const inside = (text: string) => text.replaceAll("%", folder);
      const tokenizerPath = inside(changes.tokenizerPath ?? MODEL);
      await assertRejects(
        () => runPrepare(optionsIn(folder, { ...changes, tokenizerPath }), () => {}),
        error,
        inside(message),
      );
      assertEquals(await Deno.readTextFile(`${folder}/${file}`), "before\n");
      assertEquals(Array.from(Deno.readDirSync(`${folder}/save/${task}`)).length, 1);
    });
  });
}

Deno.test({
  name: "runPrepare() refuses lengths that are too short for tasks with data",
  ignore: shared === undefined,
  async fn() {
    for (const task of ["niah_single_2", "niah_multivalue", "cwe", "qa_1", "qa_2"]) {
      await assertRejects(
        () => prepare({ task, maxTokens: 100, sourceDir: DATA }),
        UsageError,
        `Cannot make samples of ${task} as a sample must fit the sequence length`,
      );
    }
  },
});

Deno.test({
  name: "runPrepare() says where more questions come from if a shortened file has too few",
  ignore: shared === undefined,
  async fn() {
    const qa = { task: "qa_2", sourceDir: DATA, maxTokens: 4096 };
    await assertRejects(
      () => prepare({ ...qa, sampleCount: 101 }),
      FileError,
      `Cannot make samples of qa_2: hotpotqa.json has 100 questions for 101 samples in ${DATA}: ` +
        "'deno task data' fetches the official file",
    );
    await assertRejects(
      () => prepare({ ...qa, task: "qa_1", sampleCount: 5929 }),
      UsageError,
      "'--num_samples' must be at most its 5928 questions: current value is 5929",
    );
  },
});

Deno.test("runPrepare() refuses data that is damaged and names the file", async () => {
  const cases: readonly (readonly [task: string, file: string, text: string, message: string])[] = [
    ["qa_1", "squad.json", "{", "squad.json: it is not JSON"],
    ["qa_1", "squad.json", "{}", "squad.json as it must be a file of squad"],
    [
      "qa_1",
      "squad.json",
      '{"data": [{"paragraphs": [{}]}]}',
      "squad.json as it must be a file of",
    ],
    ["qa_1", "squad.json", '{"data": []}', "squad.json has 0 questions for 3 samples"],
    [
      "qa_2",
      "hotpotqa.json",
      '[{"question": "a"}]',
      "hotpotqa.json as it must be a file of hotpot",
    ],
    ["qa_2", "hotpotqa.json", "[[]]", "hotpotqa.json as it must be a file of hotpotqa"],
  ];
  for (const [task, file, text, message] of cases) {
    await inFolder({ [`none/${file}`]: text }, async (folder) => {
      await assertRejects(
        () => runPrepare(optionsIn(folder, { task }), () => {}),
        FileError,
        message,
      );
    });
  }
});

Deno.test("runPrepare() warns where the essays end before the length is reached", async () => {
  const essay = JSON.stringify({ text: "A short essay about words. ".repeat(40) });
  const punkt = ["abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt"];
  const files = {
    "data/PaulGrahamEssays.json": essay,
    ...Object.fromEntries(punkt.map((name) => [`data/punkt_tab/english/${name}`, ""])),
  };
  await inFolder(files, async (folder) => {
    const logged: string[] = [];
    await runPrepare({
      saveDir: folder,
      task: "niah_single_2",
      tokenizerPath: new URL("../../models/starx-tiny", import.meta.url).pathname,
      maxTokens: 4096,
      sampleCount: 1,
      randomSeed: undefined,
      template: "base",
      removeNewlineTab: false,
      chunkIndex: 0,
      chunkCount: 1,
      sourceDir: `${folder}/data`,
      cweFrequencies: [],
    }, (line) => void logged.push(line));
    const warning = logged.find((line) => line.includes("source texts end there")) ?? "";
    assertMatch(warning, /^warning: the longest sample of niah_single_2 has \d+ of 4096 tokens/);
  });
});

Deno.test("runPrepare() makes newer RULER's data, its seed and its subset", async () => {
  await inFolder({}, async (folder) => {
    const read = async (changes: Partial<PrepareCommandOptions>): Promise<string> => {
      const logged: string[] = [];
      const options = optionsIn(folder, { task: "vt", generators: "2026", ...changes });
      await runPrepare(options, (line) => logged.push(line));
      assertEquals(logged.length, 1, logged.join("\n"));
      return await Deno.readTextFile(
        `${folder}/save/vt/${options.subset ?? "validation"}.jsonl`,
      );
    };
    const usual = await read({});
    const [first] = usual.split("\n");
    assertEquals(Object.keys(JSON.parse(first ?? "")), [
      ...["index", "input", "outputs", "length", "length_w_model_temp", "answer_prefix"],
    ]);
    assertMatch(first ?? "", /"answer_prefix": " Answer: According to .* are assigned the value/);
    assertEquals(await read({ randomSeed: 42, subset: "test" }), usual);
    assert(await read({ randomSeed: 43 }) !== usual);
    // The second chunk has the next seed.
    const [second] = (await read({ chunkIndex: 1, chunkCount: 2, sampleCount: 4 })).split("\n");
    assertEquals((await read({ randomSeed: 43 })).split("\n")[0], second);
  });
});

Deno.test({
  name: "runPrepare() says of essays and questions that end before the length is reached",
  ignore: shared === undefined,
  async fn() {
    await inFolder({}, async (folder) => {
      for await (const { name } of Deno.readDir(DATA)) {
        await Deno.symlink(`${DATA}/${name}`, `${folder}/${name}`);
      }
      await Deno.remove(`${folder}/PaulGrahamEssays.json`);
      const text = "One sentence has five words. ".repeat(400);
      await Deno.writeTextFile(`${folder}/PaulGrahamEssays.json`, JSON.stringify({ text }));
      const run = { task: "niah_single_2", sourceDir: folder, sampleCount: 1, maxTokens: 3600 };
      const { logged } = await prepare(run);
      assertMatch(
        logged[0] ?? "",
        /^warning: the longest sample of niah_single_2 has \d+ of 3600 tokens, as its source texts end/,
      );
      // Newer generators repeat them.
      assertEquals((await prepare({ ...run, generators: "2026" })).logged.length, 1);
      assertEquals((await prepare({ ...run, maxTokens: 1600 })).logged.length, 1);
      await Deno.remove(`${folder}/hotpotqa.json`);
      const questions = JSON.parse(await Deno.readTextFile(`${DATA}/hotpotqa.json`)).slice(0, 2);
      await Deno.writeTextFile(`${folder}/hotpotqa.json`, JSON.stringify(questions));
      const qa = { ...run, task: "qa_2", maxTokens: 9000 };
      assertMatch(
        (await prepare(qa)).logged[0] ?? "",
        /^warning: the longest sample of qa_2 has \d+/,
      );
      assertEquals((await prepare({ ...qa, generators: "2026" })).logged.length, 1);
    });
  },
});
