/**
 * An engine with several samples in flight: each gets what it gets alone, whatever becomes of the
 * others.
 *
 * @module
 */
import { loadModel } from "../../../lib/engine/load_model.ts";
import { RequestError } from "../../../lib/errors.ts";
import type { Engine, GenerateRequest, GenerateResult } from "../../../lib/star/request.ts";
import { assert, assertEquals, assertLess, assertRejects } from "../../helpers/assert.ts";
import { batchSamples } from "../../helpers/batches.ts";
import { goldenRequest, MODEL, openTiny, STAR } from "../../helpers/prompts.ts";

const answerOf = ({ ids, topLogits, selectedTiles }: GenerateResult) => ({
  ids,
  topLogits,
  selectedTiles,
});

async function oneByOne(engine: Engine): Promise<ReturnType<typeof answerOf>[]> {
  const results = [];
  for (const sample of await batchSamples(7)) {
    results.push(answerOf(await engine.generate(sample)));
  }
  return results;
}

Deno.test("a sample that ends at a stop id waits for nobody, and the next one takes its place", async () => {
  await using engine = await openTiny({ plan: STAR, processCount: 1, batchSize: 2 });
  const [first, second, third] = await batchSamples(3);
  assert(first !== undefined && second !== undefined && third !== undefined);
  const { ids } = await engine.generate({ ...first, tokensToGenerate: 8 });
  const stopId = ids[2] ?? -1;
  const length = ids.indexOf(stopId) + 1;
  const ended: string[] = [];
  const run = async (name: string, request: GenerateRequest): Promise<GenerateResult> => {
    const result = await engine.generate(request);
    ended.push(name);
    return result;
  };
  const [stopped, long] = await Promise.all([
    run("stopped", { ...first, tokensToGenerate: 300, stopIds: [stopId] }),
    run("long", { ...second, tokensToGenerate: 300 }),
    run("next", { ...third, tokensToGenerate: 10 }),
  ]);
  assertEquals(stopped.ids, ids.slice(0, length));
  assertEquals(long.ids.length, 300);
  assertEquals(ended, ["stopped", "next", "long"]);
});

Deno.test("a stop word of several tokens ends its answer while others go on", async () => {
  await using model = await loadModel(MODEL, { device: "cpu", threads: 1, batchSize: 2 });
  const [first, second] = await batchSamples(2);
  assert(first !== undefined && second !== undefined);
  const promptOf = ({ contextIds, queryIds }: GenerateRequest) => ({
    context: contextIds,
    query: queryIds,
  });
  const whole = await model.generate(promptOf(first), { tokensToGenerate: 12 });
  const stopWord = await model.tokenizer.decode([...whole.ids.slice(4, 7)]);
  assert((await model.tokenizer.encode(stopWord)).length > 1);
  const ended: string[] = [];
  const run = async (name: string, request: GenerateRequest, stopWords: readonly string[]) => {
    const generation = await model.generate(promptOf(request), {
      ...{ tokensToGenerate: 600, stopWords },
    });
    ended.push(name);
    return generation;
  };
  const [stopped, long] = await Promise.all([
    run("stopped", first, [stopWord]),
    run("long", second, []),
  ]);
  assertEquals(stopped.text, whole.text.slice(0, whole.text.indexOf(stopWord)));
  assertEquals(long.ids.length, 600);
  assertEquals(ended, ["stopped", "long"]);
});

Deno.test("samples get tokens between the chunks of one that begins", async () => {
  await using engine = await openTiny({ plan: { mode: "dense" }, processCount: 1, batchSize: 3 });
  const [short] = await batchSamples(1);
  assert(short !== undefined);
  const long = await goldenRequest({ task: "vt", repeat: 5 });
  const first = { ...short, tokensToGenerate: 60 };
  const expected = [answerOf(await engine.generate(first)), answerOf(await engine.generate(long))];
  const chunks = Math.ceil(long.contextIds.length / 512);
  assert(chunks >= 3);
  let tokens = 0;
  const seen = new Set<number>();
  const [one, two] = await Promise.all([
    engine.generate(first, {
      onProgress: ({ generatedTokens }) => void (tokens = generatedTokens),
    }),
    engine.generate(long, {
      onProgress: ({ phase }) => {
        if (phase === "phase 1") seen.add(tokens);
      },
    }),
  ]);
  assertEquals([one, two].map(answerOf), expected);
  assertEquals([...seen], Array.from({ length: chunks }, (_, i) => 1 + i));
});

for (const processCount of [1, 2]) {
  const where = processCount === 1 ? "in this process" : `on ${processCount} processes`;

  Deno.test(`samples at once give what they give one by one ${where}`, async () => {
    await using alone = await openTiny({ plan: STAR, processCount });
    assertEquals(alone.batchSize, 1);
    const expected = await oneByOne(alone);
    await using engine = await openTiny({ plan: STAR, processCount, batchSize: 3 });
    assertEquals(engine.batchSize, 3);
    const samples = await batchSamples(7);
    const results = await Promise.all(samples.map((sample) => engine.generate(sample)));
    assertEquals(results.map(answerOf), expected);
    for (const { ranks } of results) assertEquals(ranks.length, processCount);
  });

  Deno.test(`samples that are refused or cancelled leave the others alone ${where}`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount, batchSize: 4 });
    const samples = await batchSamples(7);
    const expected = await oneByOne(engine);
    const abort = new AbortController();
    const runs = samples.map((sample, i) => {
      if (i === 2) return engine.generate({ ...sample, queryIds: new Int32Array(0) });
      if (i !== 4) return engine.generate(sample);
      const onProgress = () => abort.abort(new TypeError("enough"));
      const longer = { ...sample, tokensToGenerate: 400 };
      return engine.generate(longer, { signal: abort.signal, onProgress });
    });
    const settled = await Promise.allSettled(runs);
    for (const [i, run] of settled.entries()) {
      if (run.status === "fulfilled") assertEquals(answerOf(run.value), expected[i]);
    }
    assertEquals(settled.flatMap(({ status }, i) => status === "rejected" ? [i] : []), [2, 4]);
    await assertRejects(() => runs[2] ?? Promise.resolve(), RequestError);
    await assertRejects(() => runs[4] ?? Promise.resolve(), TypeError, "enough");
    // Nothing of them is left: all places are free.
    assertEquals(await oneByOne(engine), expected);
  });

  Deno.test(`an answer that is stopped while a long prompt begins leaves the others alone ${where}`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount, batchSize: 3 });
    const [first, second] = await batchSamples(2);
    assert(first !== undefined && second !== undefined);
    const long = await goldenRequest({ task: "niah_multikey_2", repeat: 2 });
    // Its last token comes while the long prompt begins.
    const brief = { ...second, tokensToGenerate: 4 };
    const expected = [
      answerOf(await engine.generate(brief)),
      answerOf(await engine.generate(long)),
    ];
    const [stopped, ...others] = await Promise.all([
      engine.generate({ ...first, tokensToGenerate: 600 }, {
        isDone: ({ length }) => Promise.resolve(length >= 2),
      }),
      engine.generate(brief),
      engine.generate(long),
    ]);
    assertLess(stopped.ids.length, 600);
    assertEquals(others.map(answerOf), expected);
  });

  Deno.test(`an answer that is found to be done ends before its last token ${where}`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount, batchSize: 2 });
    const [sample, other] = await batchSamples(2);
    assert(sample !== undefined && other !== undefined);
    const tokensToGenerate = 600;
    const [early, whole] = await Promise.all([
      engine.generate({ ...sample, tokensToGenerate }, {
        isDone: ({ length }) => Promise.resolve(length >= 3),
      }),
      engine.generate({ ...other, tokensToGenerate: 20 }),
    ]);
    assert(early.ids.length >= 3);
    assertLess(early.ids.length, tokensToGenerate);
    assertEquals(whole.ids.length, 20);
    const { ids } = await engine.generate({ ...sample, tokensToGenerate: early.ids.length });
    assertEquals(early.ids, ids);
  });
}
