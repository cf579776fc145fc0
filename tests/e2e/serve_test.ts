/**
 * The server under the `openai` client as it comes.
 *
 * @module
 */
import type { PlanOptions } from "../../lib/attention/plan.ts";
import { findChatTemplate } from "../../lib/model/chat_template.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import { type RunningServer, startServer } from "../../commands/serve/server.ts";
import { serviceOf } from "../../commands/serve/serve.ts";
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertMatch,
  assertRejects,
} from "../helpers/assert.ts";
import { goldenEntries } from "../helpers/golden.ts";
import { importOpenAi, type OpenAiClient } from "../helpers/openai.ts";
import { MODEL } from "../helpers/prompts.ts";

/** Set in the process that has the client. */
const CHILD = "STARX_SERVE_TEST";
const isChild = Deno.env.has(CHILD);
const TEMPLATE = "{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}[assistant]";
const KEY = "a key";

/** The tests are those of another process, which writes no lock file: what only they need is not in it. */
function test(name: string, run: () => Promise<void>): void {
  if (isChild) Deno.test(name, run);
}

if (!isChild) {
  Deno.test("serve answers the openai client as it comes", async () => {
    const allowed = ["read", "write", "env", "sys", "ffi", "run", "net"].map((name) =>
      `--allow-${name}`
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-q", "--no-check", "--no-lock", "--no-prompt", ...allowed, import.meta.url],
      env: { [CHILD]: "1", NO_COLOR: "1" },
    }).output();
    const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
    assert(code === 0 && /[1-9]\d* passed \| 0 failed/.test(text), text);
  });
}

interface Served extends AsyncDisposable {
  readonly client: OpenAiClient;
  readonly model: Model;
  readonly url: string;
}

/** The model of the repository with a chat template, served on a free port. */
async function serve(
  options: { plan?: PlanOptions; batchSize?: number; queue?: number; processCount?: number } = {},
): Promise<Served> {
  const { plan = { mode: "dense" }, batchSize = 4, queue = 64, processCount = 1 } = options;
  const folder = await Deno.makeTempDir();
  for await (const { name } of Deno.readDir(MODEL)) {
    await Deno.symlink(`${MODEL}/${name}`, `${folder}/${name}`);
  }
  await Deno.writeTextFile(`${folder}/chat_template.jinja`, TEMPLATE);
  const load = { ...plan, batchSize, processCount, device: "cpu", threads: 1 } as const;
  const model = await loadModel(folder, load);
  const limits = { queue, maxTokens: 4000, queryTokens: 64 };
  const chatTemplate = await findChatTemplate(folder);
  const named = { folder, chatTemplate, modelName: "tiny" };
  const service = await serviceOf(model, { plan, ...named, ...limits });
  const server: RunningServer = await startServer(service, {
    hostname: "127.0.0.1",
    port: 0,
    apiKey: KEY,
    maxBodyBytes: 2 ** 20,
  });
  const url = `http://127.0.0.1:${server.port}`;
  const OpenAI = await importOpenAi();
  return {
    client: new OpenAI({ baseURL: `${url}/v1`, apiKey: KEY, maxRetries: 0 }),
    model,
    url,
    [Symbol.asyncDispose]: async () => {
      await server.close();
      await model[Symbol.asyncDispose]();
      await Deno.remove(folder, { recursive: true });
    },
  };
}

async function prompts(count: number): Promise<string[]> {
  const entries = await goldenEntries();
  return Array.from({ length: count }, (_, i) => {
    const { context = "", query = "" } = entries[i % entries.length] ?? {};
    return context.slice(0, 300 + 40 * i) + query;
  });
}

test("serve completes texts and ids as generate() does, and lists its model", async () => {
  await using served = await serve();
  const { client, model } = served;
  const [prompt = ""] = await prompts(1);
  const ids = await model.tokenizer.encode(prompt);
  const expected = await model.generate({ context: ids.slice(0, -64), query: ids.slice(-64) }, {
    tokensToGenerate: 12,
    endIds: model.config.eosTokenIds,
  });
  const asked = { model: "tiny", max_tokens: 12, temperature: 0, stop: null };
  const { choices, usage } = await client.completions.create({
    ...asked,
    prompt: [prompt, prompt],
  });
  assertEquals(choices.map(({ text }) => text), [expected.text, expected.text]);
  assertEquals(usage?.prompt_tokens, 2 * ids.length);
  assertEquals(usage?.completion_tokens, 2 * expected.ids.length);
  const byIds = await client.completions.create({ ...asked, prompt: [...ids], echo: true });
  assertEquals(byIds.choices[0]?.text, await model.tokenizer.decode([...ids]) + expected.text);
  const word = expected.text.slice(3, 6);
  const cut = await client.completions.create({ ...asked, prompt, stop: word });
  assertEquals(cut.choices[0]?.text, expected.text.slice(0, expected.text.indexOf(word)));
  assertEquals(cut.choices[0]?.finish_reason, "stop");
  const list = await client.models.list();
  assertEquals(list.data.map(({ id }) => id), ["tiny"]);
  assertEquals((await client.models.retrieve("tiny")).id, "tiny");
});

test("serve chats in the model's own template, whole and in a stream", async () => {
  await using served = await serve();
  const { client, model } = served;
  const messages = [
    { role: "system", content: "Be brief." },
    { role: "user", content: [{ type: "text", text: "What is the sky?" }] },
  ];
  const text = "[system] Be brief.\n[user] What is the sky?\n[assistant]";
  const { endIds } = { endIds: [4090, 4093, 4094] };
  const expected = await model.generate({ context: "", query: text }, {
    tokensToGenerate: 20,
    endIds,
  });
  const asked = { model: "tiny", messages: [...messages], max_completion_tokens: 20 };
  const whole = await client.chat.completions.create({
    ...asked,
    logprobs: true,
    top_logprobs: 2,
  });
  assertEquals(whole.choices[0]?.message.content, expected.text);
  assertEquals(whole.usage?.completion_tokens, expected.ids.length);
  const content = whole.choices[0]?.logprobs?.content ?? [];
  assertEquals(content.length, expected.ids.length);
  assert(content.every(({ logprob, top_logprobs }) => logprob <= 0 && top_logprobs.length === 2));
  const parts: string[] = [];
  let end: string | null = null;
  let tokens: number | undefined;
  const options = { stream: true, stream_options: { include_usage: true } } as const;
  for await (const part of await client.chat.completions.create({ ...asked, ...options })) {
    parts.push(part.choices[0]?.delta.content ?? "");
    end = part.choices[0]?.finish_reason ?? end;
    tokens = part.usage?.completion_tokens ?? tokens;
  }
  assertEquals(parts.join(""), expected.text);
  assert(parts.filter((part) => part !== "").length > 1, "it came in pieces");
  assertEquals([end, tokens], [whole.choices[0]?.finish_reason, expected.ids.length]);
});

for (
  const [name, plan, processCount] of [
    ["dense", { mode: "dense" }, 1],
    ["star", { mode: "star", blockTokens: 256 }, 1],
    ["star on 2 processes", { mode: "star", blockTokens: 256 }, 2],
  ] as const
) {
  test(`serve gives the log-probabilities that lm-evaluation-harness reads in ${name}`, async () => {
    await using served = await serve({ plan, processCount });
    const { client, model } = served;
    const [prompt = ""] = await prompts(1);
    const ids = await model.tokenizer.encode(prompt);
    const tokens = ids.length;
    // What the harness asks for: ids, an echo, and one token more.
    const found = await client.completions.create({
      ...{ model: "tiny", prompt: [[...ids]], temperature: 0, max_tokens: 1 },
      ...{ logprobs: 1, seed: 1234, echo: true },
    });
    const { logprobs } = found.choices[0] ?? {};
    assert(logprobs?.token_logprobs && logprobs.top_logprobs && logprobs.text_offset);
    const { token_logprobs: given, top_logprobs: top } = logprobs;
    assertEquals([given.length, top.length, logprobs.tokens?.length], Array(3).fill(tokens + 1));
    const before = name === "dense" ? 1 : tokens - 64;
    const expected = await model.score(ids.slice(0, before), ids.slice(before), { top: 1 });
    assertEquals(given.slice(0, before), Array(before).fill(null));
    assertEquals(
      given.slice(before),
      [...expected.tokens, expected.next].map(({ logprob }) => logprob),
    );
    for (const [i, token] of expected.tokens.entries()) {
      const best = Math.max(...Object.values(top[before + i] ?? {}));
      assertAlmostEquals(best, token.top[0]?.[1] ?? NaN, 1e-9);
    }
    assertEquals(logprobs.tokens?.slice(0, -1).join(""), prompt);
    const offsets = logprobs.text_offset;
    assertEquals(prompt.slice(offsets[5]).indexOf(logprobs.tokens?.[5] ?? ""), 0);
    const longer = await client.completions.create({
      ...{ model: "tiny", prompt, max_tokens: 4, logprobs: 0 },
    });
    const own = longer.choices[0]?.logprobs?.token_logprobs ?? [];
    assertEquals(own.length, longer.usage?.completion_tokens);
    assertAlmostEquals(own[0] ?? NaN, expected.next.logprob, 0.05);
  });
}

test("serve answers 20 requests at once as one by one, whole and in streams", async () => {
  await using served = await serve({ batchSize: 8 });
  const { client } = served;
  const all = await prompts(20);
  const ask = async (prompt: string, stream: boolean): Promise<string> => {
    const asked = { model: "tiny", prompt, max_tokens: 16 };
    if (!stream) return (await client.completions.create(asked)).choices[0]?.text ?? "";
    let text = "";
    for await (const part of await client.completions.create({ ...asked, stream: true })) {
      text += part.choices[0]?.text ?? "";
    }
    return text;
  };
  const alone: string[] = [];
  for (const prompt of all) alone.push(await ask(prompt, false));
  assert(new Set(alone).size > 1, "the prompts have different answers");
  assertEquals(await Promise.all(all.map((prompt, i) => ask(prompt, i % 2 === 0))), alone);
});

test("serve ends what a client gives up, and its place is free", async () => {
  await using served = await serve({ batchSize: 1, queue: 0 });
  const { client, url } = served;
  const OpenAI = await importOpenAi();
  const [prompt = ""] = await prompts(1);
  const long = { model: "tiny", prompt, max_tokens: 4000, ignore_eos: true };
  for (const stream of [true, false] as const) {
    let abort = new AbortController();
    let reading: Promise<unknown>;
    if (stream) {
      const events = await client.completions.create({ ...long, stream });
      abort = events.controller;
      reading = events[Symbol.asyncIterator]().next();
    } else {
      reading = client.completions.create(long, { signal: abort.signal });
    }
    await Promise.race([reading, waitFor(url, "starx_prompts_running 1")]);
    // There is one place and no queue.
    const full = await assertRejects(() => client.completions.create({ ...long, max_tokens: 1 }));
    assert(full instanceof OpenAI.RateLimitError, `${full}`);
    abort.abort();
    await Promise.allSettled([reading]);
    await waitFor(url, "starx_prompts_running 0");
    assertEquals((await client.completions.create({ ...long, max_tokens: 3 })).choices.length, 1);
  }
  const text = await metrics(url);
  assertMatch(text, /^starx_requests_total\{path="\/v1\/completions",status="499"\} 1$/m);
  // An answer that had been computed to its end would count with 4,000.
  assertMatch(text, /^starx_generated_tokens_total 6$/m);
});

async function metrics(url: string): Promise<string> {
  // Schemes are the same in small letters.
  return await (await fetch(`${url}/metrics`, { headers: { Authorization: `bearer ${KEY}` } }))
    .text();
}

/** Waits until the metrics say something. */
async function waitFor(url: string, line: string): Promise<void> {
  while (true) {
    if ((await metrics(url)).includes(`${line}\n`)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

test("serve refuses what it cannot do, in OpenAI's form", async () => {
  await using served = await serve();
  const { client, url } = served;
  const OpenAI = await importOpenAi();
  const asked = { model: "tiny", prompt: "a", max_tokens: 2 };
  const cases: [Record<string, unknown>, number, RegExp][] = [
    [{ model: "other" }, 404, /this server has 'tiny'/],
    [{ temperature: 0.7 }, 400, /'temperature' must be 0.*current value is 0.7/],
    [{ n: 2 }, 400, /'n' must be 1/],
    [{ prompt: [] }, 400, /'prompt' must be/],
    [{ prompt: [1, 99999] }, 400, /ids must be from 0 to 4095: current value is 99999/],
    [{ max_tokens: -1 }, 400, /'max_tokens' must be a whole number/],
    [{ max_tokens: 16384 }, 400, /at most the model's 16384 tokens/],
    [{ max_tokens: 5000 }, 400, /at most 4000 \(--max_tokens\)/],
    [{ best_off: 1 }, 400, /'best_off' is no field/],
    [{ prompt: "a ".repeat(2 ** 20) }, 413, /at most 1048576 bytes/],
  ];
  for (const [fields, status, message] of cases) {
    const error = await assertRejects(() => client.completions.create({ ...asked, ...fields }));
    assert(error instanceof OpenAI.APIError, `${error}`);
    assertEquals(error.status, status);
    assert(message.test(error.message), error.message);
  }
  const stranger = new OpenAI({ baseURL: `${url}/v1`, apiKey: "another", maxRetries: 0 });
  const error = await assertRejects(() => stranger.completions.create(asked));
  assert(error instanceof OpenAI.AuthenticationError, `${error}`);
  const health = await fetch(`${url}/health`);
  assertEquals([health.status, await health.json()], [200, { status: "ok" }]);
  const post = { method: "POST", headers: { Authorization: `Bearer ${KEY}` } };
  const statuses: number[] = [];
  for (const [path, init] of [["/v1/nothing", post], ["/health", post]] as const) {
    const response = await fetch(url + path, init);
    assertEquals(response.headers.get("Content-Type"), "application/json");
    statuses.push(response.status);
    assertEquals(Object.keys((await response.json()).error), ["message", "type", "param", "code"]);
  }
  const page = { ...post, headers: { ...post.headers, "Content-Type": "text/plain" }, body: "{}" };
  statuses.push(
    (await fetch(`${url}/v1/completions`, page).then(async (response) => {
      await response.body?.cancel();
      return response;
    })).status,
  );
  assertEquals(statuses, [404, 405, 415]);
});
