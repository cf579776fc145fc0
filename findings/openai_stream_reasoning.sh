#!/usr/bin/env bash
# Of a streamed thought the OpenAI client's final message keeps the last piece: "I think it is 7." is "7."
#
# Versions: npm openai 6.49.0, against a server of this file.
# Behaviour: stream() gathers the pieces of a message. Of the fields it knows (content, refusal, tool calls)
# it adds them up; any other field is set anew by each piece.
# A good engineer would guess: text that comes in pieces is added up, or a field that is not known is not in
# the message at all.
# Output seen: pieces "I think ", "it is ", "7." of reasoning_content are "7." in the final message, and so
# are those of reasoning; content, in pieces as well, is whole.
# Why it matters: local servers (vLLM, SGLang, llama.cpp) send thoughts in these two fields. A log of them
# holds one token for each answer, lengths of thoughts are 1, and nothing looks missing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@6.49.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import OpenAI from "openai";
const server = createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  const field = JSON.parse(body).model;
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (delta, finish_reason = null) => {
    const choices = [{ index: 0, delta, finish_reason }];
    const chunk = { id: "1", object: "chat.completion.chunk", created: 1, model: field, choices };
    response.write(`data: ${JSON.stringify(chunk)}\n\n`);
  };
  send({ role: "assistant" });
  for (const text of ["I think ", "it is ", "7."]) send({ [field]: text });
  for (const text of ["The needle ", "is ", "7."]) send({ content: text });
  send({}, "stop");
  response.end("data: [DONE]\n\n");
}).listen(0, "127.0.0.1");
await new Promise((done) => server.once("listening", done));
const client = new OpenAI({ baseURL: `http://127.0.0.1:${server.address().port}/v1`, apiKey: "none" });
for (const model of ["reasoning_content", "reasoning"]) {
  const messages = [{ role: "user", content: "What is the needle?" }];
  const stream = client.chat.completions.stream({ model, messages });
  let pieces = "";
  stream.on("chunk", (chunk) => pieces += chunk.choices[0].delta[model] ?? "");
  const { message } = (await stream.finalChatCompletion()).choices[0];
  console.log(`${model}: final ${JSON.stringify(message[model])}, pieces ${JSON.stringify(pieces)}`);
  console.log(`content: ${JSON.stringify(message.content)}`);
}
server.close();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
reasoning_content: final "7.", pieces "I think it is 7."
content: "The needle is 7."
reasoning: final "7.", pieces "I think it is 7."
content: "The needle is 7."
TEXT
cmp -s seen expected || { echo "Changed: other fields of a streamed message in the OpenAI client" >&2; exit 1; }
