/**
 * The server under the requests of lm-evaluation-harness's `local-completions`: its payloads and how it
 * reads the answers, as its `openai_completions.py` has them. The harness itself is not run.
 *
 * @module
 */
import { serviceOf } from "../../commands/serve/serve.ts";
import { startServer } from "../../commands/serve/server.ts";
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import { assert, assertAlmostEquals, assertEquals } from "../helpers/assert.ts";
import { goldenEntries } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";

/** A choice as far as the harness looks at it. */
interface Choice {
  readonly index: number;
  readonly text: string;
  readonly logprobs: {
    readonly token_logprobs: readonly (number | null)[];
    readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  };
}

interface Served extends AsyncDisposable {
  readonly model: Model;
  post(fields: Readonly<Record<string, unknown>>): Promise<Choice[]>;
}

async function serve(plan: PlanOptions): Promise<Served> {
  const model = await loadModel(MODEL, { ...plan, batchSize: 4, device: "cpu", threads: 1 });
  const limits = { queue: 64, maxTokens: 4000, queryTokens: 64 };
  const named = { folder: MODEL, chatTemplate: undefined, modelName: "tiny" };
  const service = await serviceOf(model, { plan, ...named, ...limits });
  const place = { hostname: "127.0.0.1", port: 0, maxBodyBytes: 2 ** 20 };
  const server = await startServer(service, place);
  return {
    model,
    post: async (fields) => {
      const response = await fetch(`http://127.0.0.1:${server.port}/v1/completions`, {
        method: "POST",
        // Without OPENAI_API_KEY the harness sends a bearer token that is empty.
        headers: { "Authorization": "Bearer ", "Content-Type": "application/json" },
        body: JSON.stringify(fields),
      });
      const body = await response.json();
      assertEquals(response.status, 200, JSON.stringify(body));
      return (body.choices as Choice[]).toSorted((a, b) => a.index - b.index);
    },
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await model[Symbol.asyncDispose]();
    },
  };
}

/** What is asked when continuations are compared. */
const LIKELIHOOD = {
  ...{ model: "tiny", temperature: 0, max_tokens: 1, logprobs: 1, seed: 1234, echo: true },
};

/** The sum of a continuation, and whether each of its tokens is the most likely one. */
function readLikelihood({ logprobs }: Choice, contextTokens: number): [number, boolean] {
  const own = logprobs.token_logprobs.slice(contextTokens, -1);
  const top = logprobs.top_logprobs.slice(contextTokens, -1);
  assert(own.every((value) => value !== null), "a continuation has no gaps");
  const isGreedy = own.every((value, i) => value === Math.max(...Object.values(top[i] ?? {})));
  return [own.reduce((sum, value) => sum + value, 0), isGreedy];
}

/** A context in ids, and a continuation: of the model's own choice, and another one. */
async function cases(model: Model): Promise<{ context: number[]; continuation: number[] }[]> {
  const found = [];
  for (const { context: text = "" } of (await goldenEntries()).slice(0, 2)) {
    const context = [...await model.tokenizer.encode(text.slice(0, 900))];
    const { ids } = await model.generate({
      context: Int32Array.from(context.slice(0, -40)),
      query: Int32Array.from(context.slice(-40)),
    }, { tokensToGenerate: 5 });
    found.push({ context, continuation: [...ids] });
    found.push({ context, continuation: [...await model.tokenizer.encode(" The blue harbor.")] });
  }
  return found;
}

for (
  const [name, plan] of [
    ["dense", { mode: "dense" }],
    ["starx", { mode: "starx", blockTokens: 128 }],
  ] as const
) {
  Deno.test(`serve answers lm-evaluation-harness's likelihoods in ${name}, in batches of ids`, async () => {
    await using served = await serve(plan);
    const { model } = served;
    const all = await cases(model);
    const prompt = all.map(({ context, continuation }) => [...context, ...continuation]);
    const choices = await served.post({ ...LIKELIHOOD, prompt });
    const flags: boolean[] = [];
    for (const [i, { context, continuation }] of all.entries()) {
      const choice = choices[i];
      assert(choice !== undefined);
      const tokens = [...context, ...continuation];
      assertEquals(choice.logprobs.token_logprobs.length, tokens.length + 1);
      const [sum, isGreedy] = readLikelihood(choice, context.length);
      // As the server cuts: the last 64 tokens are the query, in dense all of it is.
      const cut = name === "dense" ? 1 : tokens.length - 64;
      const scores = await model.score(
        Int32Array.from(tokens.slice(0, cut)),
        Int32Array.from(tokens.slice(cut)),
        { top: 1 },
      );
      const own = scores.tokens.slice(context.length - cut);
      const expected = own.reduce((total, { logprob }) => total + logprob, 0);
      assertAlmostEquals(sum, expected, 1e-9);
      assertEquals(isGreedy, own.every(({ id, top }) => top[0]?.[0] === id));
      flags.push(isGreedy);
      // One at a time the harness sends the same, and gets the same.
      const [alone] = await served.post({ ...LIKELIHOOD, prompt: [tokens] });
      assertEquals(alone?.logprobs, choice.logprobs);
    }
    assert(flags.includes(true) && flags.includes(false), `${flags}`);
  });
}

Deno.test("serve answers lm-evaluation-harness's likelihoods of texts, and without a token more", async () => {
  await using served = await serve({ mode: "dense" });
  const { tokenizer } = served.model;
  const prompt = "The grass is green. The sky is";
  const { length } = await tokenizer.encode(prompt);
  const [one] = await served.post({ ...LIKELIHOOD, prompt });
  assertEquals(one?.logprobs.token_logprobs.length, length + 1);
  assertEquals(one?.logprobs.token_logprobs[0], null);
  const [none] = await served.post({ ...LIKELIHOOD, prompt, max_tokens: 0 });
  assertEquals(none?.logprobs.token_logprobs, one?.logprobs.token_logprobs.slice(0, -1));
  assertEquals(none?.text, prompt);
  // A rolling likelihood begins with a token that stands for nothing.
  const [prefix = 0] = served.model.config.eosTokenIds;
  const ids = [prefix, ...await tokenizer.encode(prompt)];
  const [rolled] = await served.post({ ...LIKELIHOOD, prompt: [ids] });
  assert(rolled !== undefined);
  const [sum] = readLikelihood(rolled, 1);
  assert(sum < 0 && Number.isFinite(sum));
  const [single] = await served.post({ ...LIKELIHOOD, prompt: [[prefix]] });
  assertEquals(single?.logprobs.token_logprobs[0], null);
  assertEquals(single?.logprobs.token_logprobs.length, 2);
});

Deno.test("serve answers lm-evaluation-harness's generations, in batches and with its stop sequences", async () => {
  await using served = await serve({ mode: "dense" });
  const { model } = served;
  const [{ context = "" } = {}] = await goldenEntries();
  const texts = [context.slice(0, 400), context.slice(0, 700)];
  const prompt: number[][] = [];
  for (const text of texts) prompt.push([...await model.tokenizer.encode(text)]);
  const asked = { model: "tiny", prompt, max_tokens: 24, temperature: 0.0, seed: 1234 };
  const whole = await served.post({ ...asked, stop: ["<|end_of_text|>"] });
  assertEquals(whole.map(({ index }) => index), [0, 1]);
  const word = whole[0]?.text.slice(4, 8) ?? "";
  const cut = await served.post({ ...asked, stop: [word, "<|end_of_text|>"], top_p: 1 });
  assertEquals(cut[0]?.text, whole[0]?.text.slice(0, whole[0].text.indexOf(word)));
  const [text] = await served.post({ ...asked, prompt: texts[0], stop: ["<|end_of_text|>"] });
  assertEquals(text?.text, whole[0]?.text);
});
