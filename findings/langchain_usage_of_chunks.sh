#!/usr/bin/env bash
# LangChain adds up the token counts of all chunks of a stream: 1,000 tokens of prompt are 5,000.
#
# Versions: npm @langchain/openai 1.5.8 with @langchain/core 1.4.0, against a server of this file.
# Behaviour: chunks are merged field by field, and numbers are added. A server that reports the running
# usage with each chunk has its prompt counted once a chunk, in response_metadata.usage; usage_metadata
# beside it, under another name, is the last one.
# A good engineer would guess: usage is that of the request; what is repeated in each chunk is taken once,
# as id and model are.
# Output seen: prompt 5000 for 1000 and answer 14 for 4 in response_metadata (the last chunk counts twice);
# 1000 and 4 in usage_metadata. One usage at the end, as OpenAI sends it, gives 1000 and 4 in both.
# Why it matters: vLLM's continuous_usage_stats and other servers report this way, to show progress. The
# length of a prompt is multiplied by the number of answer tokens, and so are costs and token budgets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @langchain/openai@1.5.8 @langchain/core@1.4.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import { ChatOpenAI } from "@langchain/openai";
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const running = JSON.parse(body).model === "running";
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (choices, tokens) => {
    const chunk = { id: "1", object: "chat.completion.chunk", created: 1, model: "m", choices };
    const usage = { prompt_tokens: 1000, completion_tokens: tokens, total_tokens: 1000 + tokens };
    response.write(`data: ${JSON.stringify(tokens === undefined ? chunk : { ...chunk, usage })}\n\n`);
  };
  for (const [index, content] of ["The ", "needle ", "is ", "7"].entries()) {
    const choice = { index: 0, delta: { role: "assistant", content }, finish_reason: null };
    send([choice], running ? index + 1 : undefined);
  }
  send([{ index: 0, delta: {}, finish_reason: "stop" }]);
  if (!running) send([], 4);
  response.end("data: [DONE]\n\n");
}).listen(0, "127.0.0.1");
await new Promise((done) => server.once("listening", done));
const configuration = { baseURL: `http://127.0.0.1:${server.address().port}/v1` };
for (const model of ["running", "once"]) {
  const chat = new ChatOpenAI({ model, apiKey: "none", configuration, maxRetries: 0 });
  let message;
  for await (const chunk of await chat.stream("What is the needle?")) {
    message = message ? message.concat(chunk) : chunk;
  }
  const { usage } = message.response_metadata;
  const counted = message.usage_metadata;
  console.log(`${model}: ${message.content}`);
  console.log("  response_metadata.usage", usage?.prompt_tokens, usage?.completion_tokens);
  console.log("  usage_metadata", counted?.input_tokens, counted?.output_tokens);
}
server.close();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
running: The needle is 7
  response_metadata.usage 5000 14
  usage_metadata 1000 4
once: The needle is 7
  response_metadata.usage 1000 4
  usage_metadata 1000 4
TEXT
cmp -s seen expected || { echo "Changed: usage of streamed chunks in LangChain" >&2; exit 1; }
