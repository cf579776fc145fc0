/**
 * What people get wrong on the command line, in models and in data: one line on standard error that
 * names it, the right exit code, and nothing that was there before is touched.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "./helpers/assert.ts";
import { inFolder } from "./helpers/folder.ts";
import { fuzzModel, type ModelFiles, safetensorsBytes } from "../scripts/torture/fuzz_model.ts";
import { runScript, type ScriptOutput } from "./helpers/script.ts";

const PERMISSIONS = ["--allow-sys", "--allow-ffi", `--allow-run=${Deno.execPath()}`];
const MODEL = fuzzModel();
const SAMPLE = { index: 0, input_context: "The sky.", input_query: "?", outputs: ["blue"] };

/** The files of a model; `undefined` leaves one out. */
interface Parts {
  readonly config?: Record<string, unknown> | string | undefined;
  readonly tokenizer?: unknown;
  readonly weights?: Uint8Array | undefined;
}

async function writeModel(folder: string, parts: Parts): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const { config, tokenizer, weights } = { ...wholeModel(), ...parts };
  const text = (value: unknown) => typeof value === "string" ? value : JSON.stringify(value);
  if (config !== undefined) await Deno.writeTextFile(`${folder}/config.json`, text(config));
  if (tokenizer !== undefined) {
    await Deno.writeTextFile(`${folder}/tokenizer.json`, text(tokenizer));
  }
  if (weights !== undefined) await Deno.writeFile(`${folder}/model.safetensors`, weights);
}

function wholeModel(): Required<Parts> {
  const { config, tokenizer } = MODEL;
  return { config, tokenizer, weights: weightsWith({}) };
}

/** Weights whose header is changed. */
function weightsWith(
  changes: Readonly<Record<string, unknown>>,
  options: { length?: bigint } = {},
): Uint8Array {
  const { header, data } = MODEL.weights;
  return safetensorsBytes(JSON.stringify({ ...header, ...changes }), data, options);
}

function entry(name: string): ModelFiles["weights"]["header"][string] {
  const found = MODEL.weights.header[name];
  assert(found !== undefined, `${name} must be a tensor`);
  return found;
}

function starx(args: readonly string[]): Promise<ScriptOutput> {
  return runScript("cli.ts", args, { env: {}, permissions: PERMISSIONS });
}

/** `infer` in a folder with `model` and `in.jsonl`. */
function infer(folder: string, ...flags: readonly string[]): Promise<ScriptOutput> {
  const paths = ["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`];
  return starx([
    ...["infer", "-p", `${folder}/model`, "-a", "dense", "--tokens_to_generate", "2", "--device"],
    ...["cpu", ...paths, ...flags],
  ]);
}

function assertOneLine(output: ScriptOutput, expected: { code: number; line: RegExp }): void {
  assertEquals([output.code, output.stdout], [expected.code, ""], output.stderr);
  assertMatch(output.stderr, expected.line);
  assertEquals(output.stderr.trim().split("\n").length, 1, output.stderr);
}

const NORM = "model.norm.weight";
const EMBEDDING = "model.embed_tokens.weight";
const { hidden_size: _, ...WITHOUT_SIZE } = MODEL.config;

/** The model's fault, and the end of the line that names it. No weights are there where none is read. */
const MODELS: readonly (readonly [fault: string, parts: Parts, line: RegExp])[] = [
  ["no config.json", { config: undefined }, /model\/config\.json: it does not exist/],
  [
    "a config that is no JSON",
    { config: "{", weights: undefined },
    /config\.json: it is not JSON \(/,
  ],
  [
    "a config with a missing key",
    { config: WITHOUT_SIZE, weights: undefined },
    /'hidden_size' in .*config\.json must be a whole number .*: current value is missing/,
  ],
  [
    "a config with unknown rope scaling",
    { config: { ...MODEL.config, rope_scaling: { rope_type: "spiral" } }, weights: undefined },
    /'rope_scaling\.rope_type' in .* must be one of "default", .*: current value is "spiral"/,
  ],
  [
    "a config with another activation",
    { config: { ...MODEL.config, hidden_act: "gelu" }, weights: undefined },
    /'hidden_act' in .* must be "silu": current value is "gelu"/,
  ],
  [
    "another architecture",
    { config: { ...MODEL.config, architectures: ["GPT2"] }, weights: undefined },
    /'architectures' in .* must be \[LlamaForCausalLM\] or .*: current value is "GPT2"/,
  ],
  ["no tokenizer.json", { tokenizer: undefined }, /model\/tokenizer\.json: it does not exist/],
  [
    "a tokenizer whose merges lack a token",
    {
      tokenizer: {
        ...MODEL.tokenizer,
        model: { ...MODEL.tokenizer.model, merges: [["none", "none"]] },
      },
    },
    /tokenizer\.json: the tokenizer refuses it \(Token `none` out of vocabulary\)/,
  ],
  [
    "no weights",
    { weights: undefined },
    /holds neither model\.safetensors nor model\.safetensors\.i/,
  ],
  [
    "weights that are cut off",
    { weights: weightsWith({}).slice(0, -100) },
    /model\.safetensors as tensor ".*" must have data_offsets within the file's \d+ bytes/,
  ],
  [
    "weights of 5 bytes",
    { weights: new Uint8Array(5) },
    /must start with a header length of 8 bytes: current value is 5 bytes in all/,
  ],
  [
    "a header beyond the file",
    { weights: weightsWith({}, { length: 1n << 40n }) },
    /its header may have at most \d+ bytes: current value is 1099511627776/,
  ],
  [
    "tensors that overlap",
    { weights: weightsWith({ x: { dtype: "U8", shape: [2], data_offsets: [0, 2] } }) },
    /must begin where .* ends, at byte \d+: current value is \d+/,
  ],
  [
    "a dtype that does not exist",
    { weights: weightsWith({ [NORM]: { ...entry(NORM), dtype: "BF17" } }) },
    /tensor "model\.norm\.weight" must have a dtype of .*: current value is "BF17"/,
  ],
  [
    "a dtype that is not computed with",
    { weights: weightsWith({ [NORM]: { ...entry(NORM), dtype: "I16" } }) },
    /tensor model\.norm\.weight must be BF16, F16, F32 or F64: current value is I16/,
  ],
  [
    "a shape that is not the config's",
    { weights: weightsWith({ [EMBEDDING]: { ...entry(EMBEDDING), shape: [64, 320] } }) },
    /embed_tokens\.weight must have the shape \[320, 64\] of config\.json: current .* \[64, 320\]/,
  ],
];

for (const [fault, parts, line] of MODELS) {
  Deno.test(`infer ends with 3 and one line on ${fault}`, async () => {
    await inFolder({ "in.jsonl": `${JSON.stringify(SAMPLE)}\n` }, async (folder) => {
      await writeModel(`${folder}/model`, parts);
      const output = await infer(folder);
      // A warning about the device or such would be a line, too.
      assertOneLine(output, { code: 3, line: new RegExp(`^error: Cannot .*${line.source}`) });
      await Deno.stat(`${folder}/out.jsonl`).then(
        ({ size }) => assertEquals(size, 0),
        () => undefined,
      );
    });
  });
}

Deno.test("infer ends with 3 and one line on a model folder that is not there", async () => {
  await inFolder({ "in.jsonl": `${JSON.stringify(SAMPLE)}\n` }, async (folder) => {
    const line = /^error: Cannot read .*\/model\/config\.json: it does not exist\n$/;
    assertOneLine(await infer(folder), { code: 3, line });
  });
});

const INPUTS: readonly (readonly [fault: string, text: string | undefined, line: RegExp])[] = [
  ["input that is not there", undefined, /in\.jsonl: it does not exist\n$/],
  [
    "a line that is no JSON",
    `${JSON.stringify(SAMPLE)}\n{"index\n`,
    /in\.jsonl: line 2 is not JSON/,
  ],
  ["a line that is no object", "[]\n", /in\.jsonl: line 1 is not a JSON object\n$/],
  ["a blank line", `\n${JSON.stringify(SAMPLE)}\n`, /in\.jsonl: line 1 is blank\n$/],
  [
    "a line without a query",
    '{"input_context":"","outputs":[]}\n',
    /line 1 needs a text in 'input_qu/,
  ],
];

for (const [fault, text, line] of INPUTS) {
  Deno.test(`infer ends with 3 and one line on ${fault}`, async () => {
    const files: Record<string, string> = text === undefined ? {} : { "in.jsonl": text };
    await inFolder({ ...files, "out.jsonl": "" }, async (folder) => {
      await writeModel(`${folder}/model`, {});
      assertOneLine(await infer(folder), {
        code: 3,
        line: new RegExp(`^error: Cannot read .*${line.source}`),
      });
      assertEquals(await Deno.readTextFile(`${folder}/out.jsonl`), "");
    });
  });
}

Deno.test("infer and ruler end with 3 and one line where the output cannot be written", async () => {
  await inFolder({ "in.jsonl": `${JSON.stringify(SAMPLE)}\n`, file: "" }, async (folder) => {
    await writeModel(`${folder}/model`, {});
    const inside = await infer(folder, "--num_samples", "1");
    assertEquals(inside.code, 0, inside.stderr);
    const flags = ["-p", `${folder}/model`, "-a", "dense", "--device", "cpu"];
    const outputs = [
      await starx([
        ...["infer", ...flags, "--tokens_to_generate", "2"],
        ...["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/file/out.jsonl`],
      ]),
      await starx([
        ...["ruler", ...flags, "-n", "x", "-pc", "base", "-l", "1024", "-t", "fwe"],
        ...["--output_dir", `${folder}/file/results`],
      ]),
    ];
    for (const output of outputs) {
      assertOneLine(output, { code: 3, line: /^error: Cannot write .*\/file.*: .*\n$/ });
    }
  });
});

Deno.test("infer warns of a prompt beyond the model's positions, and refuses one far beyond", async () => {
  const config = { ...MODEL.config, max_position_embeddings: 100 };
  // Each letter that no merge knows is a token; the query has one more.
  const sampleOf = (tokens: number): string =>
    `${JSON.stringify({ ...SAMPLE, input_context: "~".repeat(tokens - 1), input_query: "^" })}\n`;
  const cases: readonly (readonly [tokens: number, code: number, line: RegExp | undefined])[] = [
    [100, 0, undefined],
    [104, 0, /Sample .* has 104 tokens, more than the model's 100 positions/],
    [105, 3, /^error: Cannot run sample .* at most 100 tokens .*104 with a warning\): .* is 105 /m],
  ];
  for (const [tokens, code, line] of cases) {
    await inFolder({ "in.jsonl": sampleOf(tokens) }, async (folder) => {
      await writeModel(`${folder}/model`, { config });
      const output = await infer(folder);
      assertEquals([output.code, output.stdout], [code, ""], output.stderr);
      if (line === undefined) assert(!output.stderr.includes("positions"), output.stderr);
      else assertMatch(output.stderr, line);
    });
  }
});

/** All that a run of one's own needs. */
const RULER = [
  ...["ruler", "-n", "x", "-p", "models/starx-tiny", "-pc", "base", "-l", "4096"],
  ...["-a", "xattn", "-t", "vt"],
];

/** All that `prepare` needs. */
const PREPARE = [
  ...["prepare", "--save_dir", "x", "--task", "vt", "--tokenizer_path", "models/starx-tiny"],
  ...["--max_seq_length", "1000"],
];

const FLAGS: readonly (readonly [args: readonly string[], line: RegExp])[] = [
  [
    ["ruler", "--seq", "4096", "--n", "2"],
    /^error: --n: must be longer, as it may be one of --num_samples_per_task, --num_nodes, /,
  ],
  [["ruler", "-l", "4096", "4096"], /^error: --seq_lengths: must not name a value twice/],
  [[...RULER, "--threshold", "1.5"], /'--threshold' must be above 0 and at most 1: .* 1\.5/],
  [[...RULER, "--stride", "0"], /'--stride' must be a divisor of 128: current value is 0/],
  [["ruler", "-bs"], /^error: --block_size: needs a value/],
  [["ruler", "-np", "0"], /^error: --nproc_per_node: must be a whole number from 1 to 1024/],
  [["ruler", "--num_samples_per_task", "0"], /^error: --num_samples_per_task: must be a whole num/],
  [
    ["ruler", "--cwe_freq", "30"],
    /^error: --cwe_freq: must be 2 whole numbers: current value is '30'/,
  ],
  [
    [...PREPARE, "--tokenizer_type", "nemo"],
    /^error: --tokenizer_type: must be hf, .* 'nemo' \(it is SentencePiece's model: .* a tokenizer\.json/,
  ],
  [[...PREPARE, "--tokenizer_t", "openai"], /'openai' \(it is tiktoken's vocabulary: .*Xenova/],
  [[...PREPARE, "--tokenizer_type", "slow"], /must be hf, .* current value is 'slow'$/m],
  [["infer"], /^error: --model_path, --attn_type, .*and --output_path are required/],
  [
    [
      ...["prepare", "--task", "jokes", "--save_dir", "x", "--tokenizer_path", "x"],
      ...["--max_seq_length", "1000"],
    ],
    /^error: --task: must be one of niah_single_1, /,
  ],
  [["prepare", "--num_samples", "0"], /^error: --num_samples: must be a whole number from 1 to/],
  [["evaluate"], /^error: --data_dir is required/],
  [["evaluate", "--data_dir", "x", "--benchmark", "y"], /^error: --benchmark: must be 'synthetic'/],
  [["gather"], /^error: --exp is required/],
];

for (const [args, line] of FLAGS) {
  Deno.test(`cli.ts ends with 2 and one line on '${args.join(" ")}'`, async () => {
    assertOneLine(await starx(args), { code: 2, line });
  });
}

Deno.test("prepare ends with one line where its data, tokenizer, length or chunk is missing", async () => {
  await inFolder({ "save/vt/validation.jsonl": "before\n" }, async (folder) => {
    await writeModel(`${folder}/model`, {});
    const prepare = (task: string, ...flags: readonly string[]) =>
      starx([
        ...["prepare", "--save_dir", `${folder}/save`, "--task", task, "--source_dir", folder],
        ...["--tokenizer_path", `${folder}/model`, "--num_samples", "1", ...flags],
      ]);
    const long = ["--max_seq_length", "1000"];
    assertOneLine(await prepare("qa_1", ...long), {
      code: 3,
      line: /^error: .* qa_1: squad\.json not found in .*: 'deno task data' fetches it\n$/,
    });
    assertOneLine(await prepare("fwe", "--max_seq_length", "30"), {
      code: 2,
      line:
        /^error: .* samples of fwe as a sample must fit .*: current value is 30 tokens, which is/,
    });
    assertOneLine(await prepare("vt", ...long, "--chunk_idx", "3", "--chunk_amount", "3"), {
      code: 2,
      line: /^error: --chunk_idx: must be 0 to 2, below --chunk_amount: current value is 3\n$/,
    });
    await Deno.remove(`${folder}/model/tokenizer.json`);
    assertOneLine(await prepare("vt", ...long), {
      code: 3,
      line: /^error: Cannot read .*\/model\/tokenizer\.json: it does not exist\n$/,
    });
    assertEquals(await Deno.readTextFile(`${folder}/save/vt/validation.jsonl`), "before\n");
  });
});

Deno.test("evaluate and gather end with 3 on half-written files and overwrite nothing", async () => {
  const files = {
    "exp/4096/vt.jsonl": '{"index": 0, "pred": "a", "outp',
    "exp/4096/summary.csv": "0,1\nTasks,vt\n",
  };
  await inFolder(files, async (folder) => {
    const evaluated = await starx(["evaluate", "--data_dir", `${folder}/exp/4096`]);
    assertEquals(evaluated.code, 3);
    assertMatch(
      evaluated.stderr,
      /^error: Cannot read .*\/vt\.jsonl, line 1: it is not whole .*\n$/,
    );
    assertOneLine(await starx(["gather", "-e", "exp", "--output_dir", folder]), {
      code: 3,
      line: /^error: Cannot read .*\/vt\.jsonl, line 1: it is not whole /,
    });
    for (const [name, text] of Object.entries(files)) {
      assertEquals(await Deno.readTextFile(`${folder}/${name}`), text);
    }
    assertEquals([...Deno.readDirSync(`${folder}/exp/4096`)].length, 2);
  });
});

Deno.test("control characters of a file that is quoted do not reach the terminal", async () => {
  await inFolder({ "t.json": "\u0000\u0008\u001b[1mx" }, async (folder) => {
    const output = await starx([
      ...["bench", "-p", folder, "--device", "cpu", "-a", "xattn"],
      ...["--threshold", `${folder}/t.json`],
    ]);
    assertOneLine(output, { code: 3, line: /^error: Cannot read .*\/t\.json/ });
    assertEquals(/\p{Cc}/u.test(output.stderr.trimEnd()), false, JSON.stringify(output.stderr));
    assert(output.stderr.includes("\ufffd"), output.stderr);
  });
});
