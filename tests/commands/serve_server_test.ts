/**
 * What the server answers to requests of all kinds, with a model that needs no computing.
 *
 * @module
 */
import { listen } from "../../commands/serve/listen.ts";
import { messagesField } from "../../commands/serve/messages.ts";
import { serviceOf } from "../../commands/serve/serve.ts";
import { startServer } from "../../commands/serve/server.ts";
import { FileError, RequestError, UsageError } from "../../lib/errors.ts";
import { findChatTemplate } from "../../lib/model/chat_template.ts";
import { assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { fakeModels } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

const TEMPLATE =
  "{% for m in messages %}{% if m.role == 'bad' %}{{ raise_exception('no such role') }}" +
  "{% endif %}[{{ m.role }}{% if m.name %} {{ m.name }}{% endif %}] {{ m.content }}" +
  "{% for call in m.tool_calls %}<{{ call.function.name }} {{ call.function.arguments | tojson }}>" +
  "{% endfor %}{% endfor %}";

interface Served {
  readonly url: string;
  /** The prompts that the model was asked. */
  readonly prompts: () => string[];
  readonly post: (path: string, body: unknown) => Promise<{ status: number; text: string }>;
}

/** Runs with a server whose model gives these answers. */
async function withServer(
  answer: (prompt: string) => string,
  run: (served: Served) => Promise<void>,
): Promise<void> {
  await inFolder({ "chat_template.jinja": TEMPLATE }, async (folder) => {
    const models = fakeModels(({ context, query }) => answer(context + query));
    await using model = await models.load(MODEL);
    const service = await serviceOf(model, {
      ...{ plan: { mode: "dense" }, folder, modelName: "tiny" },
      chatTemplate: await findChatTemplate(folder),
      ...{ queue: 4, maxTokens: 100, queryTokens: 64 },
    });
    const server = await startServer(service, {
      hostname: "127.0.0.1",
      port: 0,
      maxBodyBytes: 1000,
    });
    const url = `http://127.0.0.1:${server.port}`;
    const post = async (path: string, body: unknown) => {
      const headers = { "Content-Type": "application/json" };
      const request = { method: "POST", headers, body: JSON.stringify(body) };
      const response = await fetch(`${url}${path}`, request);
      return { status: response.status, text: await response.text() };
    };
    const prompts = () => models.asked.map(({ prompt }) => prompt.context + prompt.query);
    try {
      await run({ url, prompts, post });
    } finally {
      await server.close();
    }
  });
}

Deno.test("the server gives a path that is none its own status", async () => {
  await withServer(() => "", async ({ url }) => {
    const found: unknown[] = [];
    for (const path of ["/v1/models/%E0%A4%A", "/v1/models/%", "/v1/models/other"]) {
      const response = await fetch(`${url}${path}`);
      found.push([response.status, (await response.json()).error.code]);
    }
    assertEquals(found, Array(3).fill([404, "model_not_found"]));
    const own = await fetch(`${url}/v1/models/t%69ny`);
    assertEquals([own.status, (await own.json()).id], [200, "tiny"]);
  });
});

Deno.test("the server answers HEAD, and says which methods a path takes", async () => {
  await withServer(() => "", async ({ url }) => {
    const head = await fetch(`${url}/health`, { method: "HEAD" });
    assertEquals([head.status, await head.text()], [200, ""]);
    for (
      const [method, path, allowed] of [
        ["DELETE", "/v1/models", "GET, HEAD"],
        ["GET", "/v1/completions", "POST"],
        ["HEAD", "/v1/completions", "POST"],
      ] as const
    ) {
      const response = await fetch(`${url}${path}`, { method });
      await response.body?.cancel();
      assertEquals([response.status, response.headers.get("Allow")], [405, allowed]);
    }
  });
});

Deno.test("the server tells what is a client's fault from what is the model's", async () => {
  const fail = (prompt: string): string => {
    if (prompt.includes("nan")) throw new FileError("Cannot choose token 0 as logits are NaN");
    throw new RequestError("Cannot generate");
  };
  await withServer(fail, async ({ post }) => {
    const ask = async (prompt: string) =>
      (await post("/v1/completions", { prompt, max_tokens: 2 })).status;
    assertEquals([await ask("nan"), await ask("long")], [500, 400]);
    const { status, text } = await post("/v1/chat/completions", {
      messages: [{ role: "bad", content: "x" }],
    });
    assertEquals(status, 400, text);
    assertMatch(text, /no such role/);
  });
});

Deno.test("the chat template gets all fields of messages", async () => {
  await withServer(() => "4", async ({ post, prompts }) => {
    const call = (args: string) => ({
      type: "function",
      function: { name: "add", arguments: args },
    });
    const { status, text } = await post("/v1/chat/completions", {
      messages: [
        { role: "user", name: "Ann", content: [{ type: "text", text: "2+2?" }] },
        { role: "assistant", content: null, tool_calls: [call('{"a": 2}'), call("{a"), call("2")] },
        { role: "tool", tool_call_id: "1", content: "4" },
      ],
    });
    assertEquals(status, 200, text);
    const calls = '<add {"a": 2}><add "{a"><add "2">';
    assertEquals(prompts(), [`[user Ann] 2+2?[assistant] ${calls}[tool] 4`]);
    for (const content of [null, 4, [{ type: "image_url" }]]) {
      const refused = await post("/v1/chat/completions", { messages: [{ role: "user", content }] });
      assertEquals(refused.status, 400, refused.text);
    }
  });
});

Deno.test("messagesField() leaves calls alone that are of no known form", () => {
  const message = { role: "assistant", content: "x", tool_calls: [1, {}, { function: "f" }] };
  assertEquals(messagesField({ messages: [message] }), [message]);
});

Deno.test("findChatTemplate() tells a template that is damaged from none", async () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
  await inFolder({ "chat_template.jinja": pointer }, async (folder) => {
    await assertRejects(() => findChatTemplate(folder), FileError, "Git LFS pointer");
  });
  const inConfig = (value: unknown) => ({
    "tokenizer_config.json": JSON.stringify({ chat_template: value }),
  });
  await inFolder(inConfig(7), async (folder) => {
    await assertRejects(() => findChatTemplate(folder), FileError, "found 7");
  });
  const named = (name: string) => inConfig([{ name, template: "x" }]);
  for (const files of [{}, inConfig(null), named("tool_use")]) {
    await inFolder(files, async (folder) => {
      assertEquals(await findChatTemplate(folder), undefined);
    });
  }
  await inFolder(named("default"), async (folder) => {
    assertEquals(await (await findChatTemplate(folder))?.render([]), "x");
  });
});

Deno.test("listen() says in one line where it cannot listen, and answers what a browser could not send", async () => {
  const handle = (request: Request) => Promise.resolve(new Response(new URL(request.url).pathname));
  const listener = await listen({ hostname: "127.0.0.1", port: 0 }, handle);
  try {
    const taken = { hostname: "127.0.0.1", port: listener.port };
    const error = await assertRejects(() => listen(taken, handle), UsageError);
    assertMatch(error.message, new RegExp(`^Cannot listen at 127.0.0.1, port ${taken.port}: `));
    const found: string[] = [];
    for (const line of ["GET /a?b=1", "GET http://other/abs", "GET //x", "OPTIONS *", "TRACE /"]) {
      found.push(
        await answerTo(listener.port, `${line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
      );
    }
    assertEquals(found, ["200 /a", "200 /abs", "200 //x", "400", "400"]);
  } finally {
    await listener.close();
  }
});

Deno.test("listen() tells of a client that goes amid its request", async () => {
  const told = Promise.withResolvers<[string, boolean]>();
  const listener = await listen({ hostname: "127.0.0.1", port: 0 }, async (request) => {
    const text = await request.text().catch(() => "broken off");
    told.resolve([text, request.signal.aborted]);
    return new Response();
  });
  try {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: listener.port });
    const head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n";
    await connection.write(new TextEncoder().encode(`${head}${"x".repeat(1500)}`));
    connection.close();
    assertEquals(await told.promise, ["broken off", true]);
  } finally {
    await listener.close();
  }
});

/** The status of an answer, and its text where that is 200. */
async function answerTo(port: number, request: string): Promise<string> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  await connection.write(new TextEncoder().encode(request));
  const text = await new Response(connection.readable).text();
  const status = text.slice("HTTP/1.1 ".length).slice(0, 3);
  return status === "200" ? `200 ${text.split("\r\n\r\n")[1]}` : status;
}
