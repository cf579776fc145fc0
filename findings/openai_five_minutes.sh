#!/usr/bin/env bash
# In Node the openai client gives up after five minutes of silence, whatever its timeout says.
#
# Versions: npm openai 7.59.0 on Node 20, against a server on 127.0.0.1 that is part of this script.
# Takes five minutes.
# Behaviour: timeout is the client's own clock. Node's fetch has two more of 300 seconds, for the
# headers of an answer and between two parts of its body, which the client does not set. An answer at
# once fails with a connection error, a stream with "terminated" in the middle of the loop; each with
# retries that send the same prompt again (switched off here).
# A good engineer would guess: timeout: 15 minutes waits 15 minutes; a stream whose headers came has
# no limit but that.
# Output seen: both end between 295 and 330 seconds, with 900 seconds of timeout.
# Why it matters: a prompt of a million tokens is read for minutes before the first token. With the
# default of two retries the server computes it three times over, and the client has nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@7.59.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import OpenAI from "openai";
let requests = 0;
const server = createServer((request, response) => {
  requests++;
  let text = "";
  request.on("data", (part) => text += part);
  request.on("end", () => {
    if (!JSON.parse(text).stream) return;
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
  });
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const client = new OpenAI({ apiKey: "none", baseURL, timeout: 900_000, maxRetries: 0 });
const body = { model: "m", messages: [{ role: "user", content: "?" }] };
async function ending(name, ask) {
  const start = Date.now();
  let end = "an answer";
  try {
    await ask();
  } catch (error) {
    end = `${error.constructor.name}, ${(error.cause?.cause ?? error.cause)?.code}`;
  }
  const seconds = (Date.now() - start) / 1000;
  return `${name}: ${end}, ${seconds > 295 && seconds < 330 ? "after about 300 s" : `after ${seconds} s`}`;
}
const endings = await Promise.all([
  ending("answer at once", () => client.chat.completions.create(body)),
  ending("stream", async () => {
    for await (const _part of await client.chat.completions.create({ ...body, stream: true }));
  }),
]);
console.log(endings.join("\n"));
console.log(`${requests} requests`);
server.close();
server.closeAllConnections();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
answer at once: APIConnectionTimeoutError, UND_ERR_HEADERS_TIMEOUT, after about 300 s
stream: TypeError, UND_ERR_BODY_TIMEOUT, after about 300 s
2 requests
TEXT
cmp -s seen expected || { echo "Changed: how long the openai client waits for an answer in Node" >&2; exit 1; }
