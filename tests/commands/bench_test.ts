/**
 * What the bench promises to other programs: its ids, and its last line.
 *
 * @module
 */
import { runBench } from "../../commands/bench/bench.ts";
import { BENCH_FLAGS, benchOptions } from "../../commands/bench/flags.ts";
import { runKernelBench } from "../../commands/bench/kernels.ts";
import { runPromptBench } from "../../commands/bench/prompts.ts";
import { RowPrinter } from "../../commands/bench/rows.ts";
import { benchText } from "../../commands/bench/text.ts";
import { median, spread } from "../../commands/bench/timings.ts";
import { parseFlags } from "../../commands/shared/flags.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { readConfig, readConfigFile } from "../../lib/model/config.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import type { BenchOptions } from "../../commands/bench/options.ts";
import { benchIds } from "../../commands/bench/mode_bench.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
} from "../helpers/assert.ts";
import { fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const OPTIONS: BenchOptions = {
  model: { kind: "folder", folder: MODEL },
  device: "cpu",
  dtype: "bf16",
  threads: 1,
  processCount: 1,
  modes: ["dense"],
  lengths: [5, 9],
  decodeContexts: [5],
  decodeTokens: 3,
  batchSize: 1,
  blockTokens: 4096,
  anchorTokens: 4096,
  stride: 16,
  threshold: 0.9,
  rest: "drop",
  density: undefined,
  repeats: 2,
  kernels: false,
  json: true,
  jsonPath: undefined,
};

/** The generator in exact arithmetic, as its users may write it. */
function exactIds(count: number, vocabularySize: number): number[] {
  let x = 12345n;
  return Array.from({ length: count }, () => {
    x = (1664525n * x + 1013904223n) % 2n ** 32n;
    return Number((x >> 8n) % BigInt(vocabularySize));
  });
}

Deno.test("benchIds() gives the generator's ids without a rounded product or sign", () => {
  // 12345 * 1664525 + 1013904223 is 87628868 above a multiple of 2^32, and 87628868 >>> 8 is 342300.
  assertEquals([...benchIds(1, 1_000_000)], [342_300]);
  for (const vocabularySize of [1000, 49_152, 128_256]) {
    assertEquals([...benchIds(3000, vocabularySize)], exactIds(3000, vocabularySize));
  }
});

Deno.test("runBench() ends its JSON with the line of times", async () => {
  let text = "";
  const print = (part: string): void => {
    text += part;
  };
  await runBench(OPTIONS, { print, note: () => {} });
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.length, 2);
  const last = lines.at(-1) ?? "";
  const number = String.raw`\d+(?:\.\d+)?(?:e-\d+)?`;
  const prefill = (n: number) => String.raw`\{"n":${n},"s_min":${number},"s_med":${number}\}`;
  const decode = String.raw`\{"ctx":5,"s_med":${number}\}`;
  const form = String.raw`^\{"prefill":\[${prefill(5)},${
    prefill(9)
  }\],"decode":\[${decode}\],"rss_mib":${number}\}$`;
  assert(new RegExp(form).test(last), `the last line must match ${form}: found ${last}`);
  const times = JSON.parse(last) as {
    prefill: { s_min: number; s_med: number }[];
    decode: { s_med: number }[];
    rss_mib: number;
  };
  for (const { s_min, s_med } of times.prefill) assert(s_min > 0 && s_min <= s_med, last);
  assert(times.decode.every(({ s_med }) => s_med > 0) && times.rss_mib > 1, last);
});

Deno.test("runBench() times several sequences together", async () => {
  let text = "";
  const print = (part: string) => void (text += part);
  await runBench({ ...OPTIONS, batchSize: 3 }, { print, note: () => {} });
  const [details = "", times = ""] = text.trimEnd().split("\n");
  const [decode] = JSON.parse(details).decode;
  assertEquals([decode.ctx, decode.batch], [5, 3]);
  const { s_med: step, s_sample: sample } = JSON.parse(times).decode[0];
  assert(step > 0 && sample > 0, times);
  assert(Math.abs(decode.tokens_per_s * step - 3) < 0.1, text);
});

Deno.test("bench counts no buffers of its own as the model's memory", async () => {
  // A peak begins with that of the process which starts another one: a shell's is small.
  const { stdout } = await new Deno.Command("sh", {
    args: [
      ...["-c", '"$@"; exit $?', "sh", Deno.execPath()],
      ...["run", "-A", new URL("../../cli.ts", import.meta.url).pathname, "bench", "--json"],
      ...["--model_path", MODEL, "--device", "cpu", "--threads", "1", "--repeats", "1"],
      ...["-l", "5", "--decode", "5", "--decode_tokens", "2"],
    ],
    stderr: "null",
  }).output();
  const last = new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1) ?? "";
  const { rss_mib: rssMib } = JSON.parse(last) as { rss_mib: number };
  // The copy that tells the memory's rate takes 512 MiB; Deno and the tiny model less than 150.
  assert(rssMib < 400, `less than 400 MiB must be resident: found ${rssMib}`);
});

/** Options as the command line gives them. */
async function optionsOf(line: string): Promise<BenchOptions> {
  return await benchOptions(parseFlags(BENCH_FLAGS, line.split(" "), { command: "bench" }));
}

async function printed(options: BenchOptions): Promise<string> {
  let text = "";
  await runBench(options, { print: (part) => void (text += part), note: () => {} });
  return text;
}

Deno.test("bench has the spread of a sample beside its median", () => {
  assertEquals(median([4, 1, 3]), 3);
  // Squares of the distances from 5: 9, 1, 1, 1, 0, 0, 4, 16; over 7.
  assertAlmostEquals(spread([2, 4, 4, 4, 5, 5, 7, 9]), Math.sqrt(32 / 7), 1e-12);
  assertEquals(spread([3]), NaN);
});

Deno.test("benchText() takes the essays, or sentences like RULER's, and repeats what is short", async () => {
  await inFolder({ "PaulGrahamEssays.json": '{"text": "One \\n two. Three"}' }, async (folder) => {
    using tokenizer = await loadTokenizer(MODEL);
    const text = async (sourceDir: string, count: number) =>
      await benchText({ ...OPTIONS, sourceDir }, { count, vocabularySize: 4096 });
    const essays = await text(folder, 1000);
    const once = tokenizer.encode("One two. Three");
    assertEquals(essays?.name, "RULER's essays");
    assertEquals(essays?.ids.length, 1000);
    assertEquals([...essays?.ids.slice(0, 2 * once.length) ?? []], [...once, ...once]);
    const sentences = await text(`${folder}/none`, 200);
    const words = tokenizer.decode([...sentences?.ids ?? []]);
    assertMatch(words, /^(One of the special magic numbers for [a-z]+-[a-z]+ is: \d{7}\.\n)+/);
    const { vocabularySize } = await readConfig(MODEL);
    assertEquals(vocabularySize, 4096);
    await assertRejects(
      () => benchText(OPTIONS, { count: 1000, vocabularySize: 5 }),
      FileError,
      "ids must be below the model's vocab_size, which is 5",
    );
    const random = { ...OPTIONS, prompt: "random" } as const;
    assertEquals(await benchText(random, { count: 9, vocabularySize }), undefined);
  });
});

Deno.test("runBench() selects other tiles of text than of random tokens", async () => {
  const density = async (prompt: "text" | "random"): Promise<number> => {
    const one = { modes: ["xattn"], lengths: [2048], decodeContexts: [], repeats: 1 } as const;
    const text = await printed({
      ...OPTIONS,
      ...one,
      prompt,
      sourceDir: "none",
      json: false,
      format: "jsonl",
    });
    const row = JSON.parse(text);
    assertEquals(row.prompt === "random tokens", prompt === "random");
    return row.density;
  };
  const [text, random] = [await density("text"), await density("random")];
  assert(text > 0 && text < 1 && text !== random, `${text} of text, ${random} of random tokens`);
});

Deno.test("runBench() prints rows in every form, and a table with the spread", async () => {
  const options = { ...OPTIONS, json: false, modes: ["dense", "xattn"] } as const;
  const table = await printed(options);
  assertMatch(table, / prefill +s \(min\) +s \(med\) +± .*\n +5 +\d.*\n +9 .*\n +decode at/);
  const lines = (await printed({ ...options, format: "jsonl" })).trim().split("\n");
  const rows = lines.map((line) => JSON.parse(line));
  const names = rows.map(({ mode, test, tokens }) => `${mode} ${test} ${tokens}`);
  const each = ["prefill 5", "prefill 9", "decode 5"];
  assertEquals(names, ["dense", "xattn"].flatMap((mode) => each.map((test) => `${mode} ${test}`)));
  for (const { seconds, spread: off, tokens_per_s: rate, tokens, test } of rows) {
    assert(seconds > 0 && off >= 0 && rate > 0);
    if (test === "prefill") assertAlmostEquals(rate * seconds / tokens, 1, 0.01);
  }
  const json = JSON.parse(await printed({ ...options, format: "json" }));
  assertEquals(json.map((row: object) => Object.keys(row)), rows.map((row) => Object.keys(row)));
  const csv = (await printed({ ...options, format: "csv" })).trim().split("\n");
  assertEquals(csv[0], Object.keys(rows[0]).join(","));
  assertEquals(csv.length, 7);
  const md = (await printed({ ...options, format: "md" })).trim().split("\n");
  assertEquals(md.slice(2, 4), [
    "| mode | test | tokens | at once | s | ± | tokens/s | first token s | density |",
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
  ]);
  assertEquals(md.length, 10);
});

Deno.test("RowPrinter ends JSON that has no row", () => {
  let text = "";
  const printer = new RowPrinter("json", (part) => void (text += part));
  printer.end();
  printer.end();
  assertEquals(JSON.parse(text), []);
});

Deno.test("bench takes any configuration as a shape, in its own family", async () => {
  const { model } = await optionsOf(`--shape ${MODEL}/config.json`);
  const config = await readConfigFile(`${MODEL}/config.json`);
  assertEquals(model, { kind: "shape", name: `${MODEL}/config.json`, config });
  const qwen = {
    ...{ architectures: ["Qwen3ForCausalLM"], model_type: "qwen3", hidden_size: 128 },
    ...{ intermediate_size: 192, num_hidden_layers: 2, num_attention_heads: 4, head_dim: 32 },
    ...{ num_key_value_heads: 2, vocab_size: 512, max_position_embeddings: 1024 },
    ...{ rms_norm_eps: 1e-6, rope_theta: 10000, tie_word_embeddings: true, hidden_act: "silu" },
  };
  await inFolder({ "a.json": JSON.stringify(qwen) }, async (folder) => {
    const options = await optionsOf(`--shape ${folder}/a.json --device cpu -l 40 --format jsonl`);
    const row = JSON.parse(await printed(options));
    assertEquals(row.model, `${folder}/a.json (random weights)`);
    assertEquals([row.prompt, row.tokens], ["random tokens", 40]);
  });
  for (
    const [line, message] of [
      ["--shape 8b", "--shape: must be one of small, "],
      ["--shape small -p x", "--model_path: either it or --shape must be given"],
      ["--shape small --prompt text", "--prompt: must be random with --shape"],
      ["--shape small --input_path x", "--input_path: needs --model_path, not --shape"],
      ["--shape small --json --format md", "--format: must be absent with --json"],
    ] as const
  ) await assertRejects(() => optionsOf(line), UsageError, message);
});

Deno.test("runPromptBench() times one's own prompts", async () => {
  const lines = ["a", "b", "c"].map((input_query) =>
    `${JSON.stringify({ input_context: "The sky is blue.", input_query })}\n`
  );
  await inFolder({ "in.jsonl": lines.join("") }, async (folder) => {
    const run = async (changes: Partial<BenchOptions>) => {
      const models = fakeModels(() => "an answer");
      const input = { path: `${folder}/in.jsonl`, limit: 2 };
      let text = "";
      await runPromptBench(
        { ...OPTIONS, modes: ["dense", "xattn"], ...changes, input },
        { print: (part) => void (text += part), note: () => {} },
        { screen: fakeScreen(), cleanup: NO_INTERRUPTS, loadModel: models.load },
      );
      return { models, text };
    };
    const { models, text } = await run({ format: "jsonl" });
    const rows = text.trim().split("\n").map((line) => JSON.parse(line));
    const tests = ["prompt 1", "prompt 2", "all 2"];
    assertEquals(rows.map(({ test }) => test), [...tests, ...tests]);
    // A run that is not timed, and two of each prompt.
    assertEquals(models.asked.map(({ prompt }) => prompt.query).join(""), "aaabb".repeat(2));
    assert(models.asked.every(({ options }) => options.tokensToGenerate === 3));
    assertEquals(models.openCount, 0);
    for (const row of rows) {
      assertEquals([row.tokens, row.generated, row.runs], [12, 2, 2]);
      assert(row.first_token_s >= 0 && row.first_token_s <= row.seconds && row.tokens_per_s > 0);
    }
    const { text: table } = await run({});
    assertMatch(
      table,
      /tokens +generated +s +± +tokens\/s +first token s +± +density\nprompt 1 +12 +2 /,
    );
  });
});

Deno.test("runPromptBench() has the first token before the last one", async () => {
  const line = { input_context: "The grass is green. ".repeat(60), input_query: "The grass is" };
  await inFolder({ "in.jsonl": `${JSON.stringify(line)}\n` }, async (folder) => {
    let text = "";
    const input = { path: `${folder}/in.jsonl`, limit: -1 };
    await runPromptBench(
      { ...OPTIONS, input, decodeTokens: 40, format: "jsonl", repeats: 1 },
      { print: (part) => void (text += part), note: () => {} },
      { screen: fakeScreen(), cleanup: NO_INTERRUPTS },
    );
    const [row] = text.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(row.generated, 40);
    assert(row.first_token_s > 0 && row.first_token_s < row.seconds, text);
  });
});

Deno.test("runKernelBench() says how fast memory is read, and times products of int8", async () => {
  const lines: string[] = [];
  const output = { print: (text: string) => void lines.push(text), note: () => {} };
  const timings = await runKernelBench(
    { ...OPTIONS, lengths: [130], weights: "int8", head: "int8", density: 0.5 },
    output,
  );
  const head = JSON.parse(lines[0] ?? "");
  assertEquals(head.dtype, "bf16, weights int8, head int8");
  for (const key of ["tflops", "read_gb_per_s", "copy_gb_per_s", "mapped_gb_per_s"]) {
    assert(head[key] > 0, `${key}: ${head[key]}`);
  }
  const { hiddenSize, vocabularySize } = await readConfig(MODEL);
  const product = timings.find(({ name }) => name.startsWith("decode head"));
  assert(product !== undefined);
  // A byte for each weight and 4 for each scale, as op and time say.
  const bytes = product.gbPerS * product.us * 1e3;
  const least = vocabularySize * (hiddenSize + 4);
  assert(bytes >= least && bytes < 1.1 * least + 1e5, `${bytes} bytes`);
});
