#!/usr/bin/env bash
# The openai client takes a stream that was cut short for a finished one, unless a helper is used.
#
# Versions: npm openai 7.59.0, against a server on 127.0.0.1 that is part of this script.
# Behaviour: a response that ends (properly, as a proxy or a server that gives up ends it) without
# a finish_reason and without `data: [DONE]` ends the `for await` loop without an error. Only the
# helper chat.completions.stream() throws, and only when the final completion is asked for.
# A good engineer would guess: the end marker exists so that its absence is noticed; the loop
# throws.
# Output seen: the loop gives "The answer" with finish_reason null; the helper throws.
# Why it matters: answers over long contexts take minutes, and workers or proxies end in between.
# The first half of an answer is scored as the whole, as a wrong one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@7.59.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import OpenAI from "openai";
const chunk = (content) => `data: ${JSON.stringify({
  id: "1",
  object: "chat.completion.chunk",
  created: 1,
  model: "m",
  choices: [{ index: 0, delta: { role: "assistant", content }, finish_reason: null }],
})}\n\n`;
const server = createServer((_request, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(chunk("The ") + chunk("answer"));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const client = new OpenAI({ apiKey: "none", baseURL });
const body = { model: "m", messages: [{ role: "user", content: "?" }] };
let text = "", reason = null;
for await (const part of await client.chat.completions.create({ ...body, stream: true })) {
  text += part.choices[0]?.delta.content ?? "";
  reason = part.choices[0]?.finish_reason ?? reason;
}
console.log(`loop: ${JSON.stringify(text)}, finish_reason ${reason}, no error`);
try {
  await client.chat.completions.stream(body).finalChatCompletion();
  console.log("helper: no error");
} catch {
  console.log("helper: an error");
}
server.close();
server.closeAllConnections();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
loop: "The answer", finish_reason null, no error
helper: an error
TEXT
cmp -s seen expected || { echo "Changed: streams without an end in the openai client" >&2; exit 1; }
