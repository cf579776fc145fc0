/**
 * `score()` against the logits that `generate()` returns, position by position.
 *
 * @module
 */
import { RequestError, UsageError } from "../../../lib/errors.ts";
import { loadModel, type Model } from "../../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../../lib/engine/model_options.ts";
import type { Scores } from "../../../lib/engine/score.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../../helpers/assert.ts";
import { goldenEntries } from "../../helpers/golden.ts";
import { MODEL } from "../../helpers/prompts.ts";

const CONTEXT_TOKENS = 700;
const SCORED_TOKENS = 40;
const TOP = 3;

async function prompt(): Promise<{ context: Int32Array; continuation: Int32Array }> {
  const [entry] = await goldenEntries();
  const ids = Int32Array.from([...entry?.context_ids ?? [], ...entry?.query_ids ?? []]);
  const end = CONTEXT_TOKENS + SCORED_TOKENS;
  return {
    context: ids.slice(0, CONTEXT_TOKENS),
    continuation: ids.slice(CONTEXT_TOKENS, end),
  };
}

function openModel(options: LoadOptions): Promise<Model> {
  return loadModel(MODEL, { device: "cpu", precision: "f32", threads: 1, ...options });
}

/** The log-probabilities behind a prefix, from all logits of `generate()`. */
async function direct(model: Model, tokens: number): Promise<Map<number, number>> {
  const { context, continuation } = await prompt();
  const last = context.length - 1;
  const query = Int32Array.from([...context.subarray(last), ...continuation.subarray(0, tokens)]);
  const { topLogits } = await model.generate({ context: context.slice(0, last), query }, {
    tokensToGenerate: 1,
    topLogits: model.config.vocabularySize,
  });
  const total = topLogits.reduce((sum, [, logit]) => sum + Math.exp(logit), 0);
  return new Map(topLogits.map(([id, logit]) => [id, logit - Math.log(total)]));
}

const CASES: readonly (readonly [string, LoadOptions])[] = [
  ["dense", { mode: "dense" }],
  ["dense with places for 3", { mode: "dense", batchSize: 3 }],
  ["star", { mode: "star", blockTokens: 256 }],
  ["star on 2 processes", { mode: "star", blockTokens: 256, processCount: 2 }],
  ["starx", { mode: "starx", blockTokens: 256 }],
];

for (const [name, options] of CASES) {
  Deno.test(`score() gives what the logits of generate() say in ${name}`, async () => {
    await using model = await openModel(options);
    const { context, continuation } = await prompt();
    const { tokens, logprob, next } = await model.score(context, continuation, { top: TOP });
    assertEquals(tokens.map(({ id }) => id), [...continuation]);
    assertAlmostEquals(logprob, tokens.reduce((sum, token) => sum + token.logprob, 0));
    for (const at of [0, 1, 17, SCORED_TOKENS - 1]) {
      const expected = await direct(model, at);
      const found = tokens[at];
      assert(found !== undefined);
      assertAlmostEquals(found.logprob, expected.get(found.id) ?? NaN, 1e-3, `token ${at}`);
      const best = [...expected].sort((a, b) => b[1] - a[1]).slice(0, TOP);
      assertEquals(found.top.map(([id]) => id), best.map(([id]) => id), `token ${at}`);
      for (const [i, [, value]] of found.top.entries()) {
        assertAlmostEquals(value, best[i]?.[1] ?? NaN, 1e-3, `token ${at}`);
      }
    }
    const [best] = [...await direct(model, SCORED_TOKENS)].sort((a, b) => b[1] - a[1]);
    assertEquals(next.id, best?.[0]);
    assertAlmostEquals(next.logprob, best?.[1] ?? NaN, 1e-3);
  });
}

Deno.test("score() sums to the same for any number of places in the batch", async () => {
  const { context, continuation } = await prompt();
  const all: Scores[] = [];
  for (const batchSize of [1, 3, 16]) {
    await using model = await openModel({ mode: "dense", precision: "bf16", batchSize });
    all.push(await model.score(context, continuation));
  }
  assertEquals(all[1], all[0]);
  assertEquals(all[2], all[0]);
});

Deno.test("score() takes texts, and its shortest context", async () => {
  await using model = await openModel({ mode: "dense" });
  const { tokenizer } = model;
  const [context, continuation] = ["The grass is green. ", "The sky is blue."];
  const found = await model.score(context, continuation);
  const ids = await tokenizer.encode(continuation);
  assertEquals(found, await model.score(await tokenizer.encode(context), ids));
  const { tokens } = await model.score(ids.slice(0, 1), ids.slice(1));
  assertEquals(tokens.length, ids.length - 1);
  assert(tokens.every(({ logprob }) => logprob < 0));
});

Deno.test("score() refuses what it cannot score, and the model goes on", async () => {
  await using model = await openModel({ mode: "dense" });
  await assertRejects(() => model.score("", "a"), RequestError, "its context must have a token");
  await assertRejects(() => model.score("a", ""), RequestError, "its continuation must have a");
  await assertRejects(
    () => model.score("a", "b", { top: -1 }),
    UsageError,
    "'top' must be a whole",
  );
  assertEquals((await model.score("a", "b")).tokens.length, 1);
});
