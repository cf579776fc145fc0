/**
 * Models as users have them: what public bug reports were about.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { loadModel, type Model } from "../../mod.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { sharedFolder } from "../helpers/shared.ts";
import { ROOT } from "../helpers/sources.ts";

const SHARED = sharedFolder();

/** The largest logits of each case's first token, from a forward pass in float64. */
const RIGHT: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  head_dim_100: [[63, 52.3463], [152, 35.9682], [40, 35.3639]],
  rope_linear: [[172, 5.2403], [125, 4.2608], [137, 4.0925]],
  no_model_prefix: [[168, 4.1164], [172, 3.9762], [136, 3.7534]],
  unaligned_header: [[168, 4.1164], [172, 3.9762], [136, 3.7534]],
  lone_surrogate: [[168, 4.0692], [172, 3.9717], [136, 3.7507]],
  tokenizer_truncation: [[125, 4.4809], [172, 4.377], [47, 4.0944]],
};

const WRONG: Readonly<Record<string, string>> = {
  nan_weights:
    'Cannot choose token 0 of the answer to sample "prompt" as all logits must be finite',
  lfs_pointer: "it is a Git LFS pointer, not the file itself",
  tokenizer_larger_than_vocab:
    'vocab_size of config.json, which is 258: the token "<pad>" has the id 258 in tokenizer.json',
};

/** Cases whose tests are elsewhere, or below. */
const ELSEWHERE: readonly string[] = [
  "eos_list",
  "two_runs_one_output",
  // tests/lib/tokenizer_thread_test.ts
  "offline_npm",
  // tests/commands/template_test.ts
  "templates",
];

Deno.test({
  name: "every case has a test",
  ignore: SHARED === undefined,
  fn: async () => {
    const names: string[] = [];
    for await (const { name, isDirectory } of Deno.readDir(`${SHARED}/cases`)) {
      if (isDirectory) names.push(name);
    }
    const tested = [...Object.keys(RIGHT), ...Object.keys(WRONG), ...ELSEWHERE];
    assertEquals(names.sort(), tested.sort());
  },
});

function open(name: string): Promise<Model> {
  return loadModel(`${SHARED}/cases/${name}/model`, { device: "cpu", precision: PRECISIONS.f32 });
}

async function generate(name: string): Promise<readonly (readonly [number, number])[]> {
  const folder = `${SHARED}/cases/${name}`;
  const [line = ""] = (await Deno.readTextFile(`${folder}/in.jsonl`)).split("\n");
  const { input_context: context, input_query: query } = JSON.parse(line);
  await using model = await open(name);
  const { topLogits } = await model.generate(
    { context, query },
    { tokensToGenerate: 1, topLogits: 3 },
  );
  return topLogits;
}

for (const [name, expected] of Object.entries(RIGHT)) {
  Deno.test({
    name: `generate() gives the right logits for ${name}`,
    ignore: SHARED === undefined,
    fn: async () => {
      const found = await generate(name);
      assertEquals(found.map(([id]) => id), expected.map(([id]) => id));
      for (const [i, [, logit]] of expected.entries()) {
        assertAlmostEquals(found[i]?.[1] ?? NaN, logit, 1e-4);
      }
    },
  });
}

for (const [name, message] of Object.entries(WRONG)) {
  Deno.test({
    name: `generate() throws for ${name}`,
    ignore: SHARED === undefined,
    fn: async () => {
      const error = await assertRejects(() => generate(name), Error, message);
      assert(error instanceof FileError || name === "tokenizer_larger_than_vocab", error.name);
    },
  });
}

Deno.test({
  name: "generate() ends at any id of a list of end tokens",
  ignore: SHARED === undefined,
  fn: async () => {
    await using model = await open("eos_list");
    const prompt = { context: "abc", query: "?" };
    const { ids, text } = await model.generate(prompt, {
      tokensToGenerate: 4,
      endIds: model.config.eosTokenIds,
    });
    assertEquals([ids, text], [[257], ""]);
  },
});

Deno.test({
  name: "generate() takes texts without the tokens that the embedding lacks",
  ignore: SHARED === undefined,
  fn: async () => {
    await using model = await open("tokenizer_larger_than_vocab");
    const prompt = { context: "abc", query: "?" };
    const { ids } = await model.generate(prompt, { tokensToGenerate: 2 });
    assertEquals(ids.length, 2);
  },
});

/** Runs the command line as a user does. */
function cli(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-code-cache", "cli.ts", ...args],
    cwd: ROOT.pathname,
    env: { NO_COLOR: "1" },
    stdout: "null",
    stderr: "piped",
  }).spawn();
}

Deno.test({
  name: "prepare ends with a tokenizer that has a truncation",
  ignore: SHARED === undefined,
  fn: async () => {
    await inFolder({}, async (folder) => {
      const { code, stderr } = await cli([
        ...["prepare", "--task", "niah_single_1", "--max_seq_length", "4096"],
        ...["--tokenizer_path", `${SHARED}/cases/tokenizer_truncation/model`],
        ...["--num_samples", "1", "--save_dir", folder],
      ]).output();
      assertEquals(code, 0, new TextDecoder().decode(stderr));
      const text = await Deno.readTextFile(`${folder}/niah_single_1/validation.jsonl`);
      const { length } = JSON.parse(text);
      assert(length > 2000 && length <= 4096, `the sample has ${length} tokens`);
    });
  },
});

Deno.test({
  name: "the same command twice at once writes each sample once",
  ignore: SHARED === undefined,
  fn: async () => {
    const count = 30;
    const line = JSON.stringify({ input_context: "abc", input_query: "?", outputs: ["-"] });
    await inFolder({ "in.jsonl": `${line}\n`.repeat(count) }, async (folder) => {
      const args = [
        ...["infer", "-p", `${SHARED}/cases/rope_linear/model`, "-a", "dense", "--device", "cpu"],
        ...["--tokens_to_generate", "8", "--input_path", `${folder}/in.jsonl`],
        ...["--output_path", `${folder}/out.jsonl`],
      ];
      const outcomes = await Promise.all([cli(args).output(), cli(args).output()]);
      const said = outcomes.map(({ stderr }) => new TextDecoder().decode(stderr));
      assert(outcomes.some(({ code }) => code === 0), said.join("\n"));
      const lines = (await Deno.readTextFile(`${folder}/out.jsonl`)).trim().split("\n");
      assertEquals(lines.length, count);
      // What was refused says why; what came after the other found its work done.
      for (const [i, { code }] of outcomes.entries()) {
        assert(code === 0 || said[i]?.includes("out.jsonl"), said[i]);
      }
    });
  },
});
