#!/usr/bin/env bash
# The openai client sends a request that timed out again, twice: three prompts are computed for
# none.
#
# Versions: npm openai 7.59.0, against a server on 127.0.0.1 that is part of this script.
# Behaviour: `timeout` limits one try, and a time-out counts as an error worth two more tries with
# the same body; so do 409 and every 5xx, 501 included. The call fails after three times the
# time-out.
# A good engineer would guess: `timeout: N` ends the call after N, and what is sent again is what
# the server refused, not what it has been working on.
# Output seen: 3 requests for one call with a time-out, 1 with maxRetries: 0.
# Why it matters: the time of a prefill grows with the square of the context. A time-out that is
# too short for one prompt is too short for its copies, which queue behind it: a server that does
# not notice that the client has gone computes three prefills in place of one, and is slower for
# all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@7.59.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import OpenAI from "openai";
let requests = 0, status = 0;
const server = createServer((request, response) => {
  requests++;
  request.resume();
  if (status !== 0) response.writeHead(status).end();
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const body = { model: "m", messages: [{ role: "user", content: "?" }] };
async function count(options) {
  requests = 0;
  const client = new OpenAI({ apiKey: "none", baseURL, timeout: 1000, ...options });
  const error = await client.chat.completions.create(body).catch((error) => error);
  return `${requests} requests, ${error.constructor.name}`;
}
console.log("silent server:", await count({}));
console.log("silent server, maxRetries 0:", await count({ maxRetries: 0 }));
status = 501;
console.log("501:", await count({}));
status = 400;
console.log("400:", await count({}));
server.close();
server.closeAllConnections();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
silent server: 3 requests, APIConnectionTimeoutError
silent server, maxRetries 0: 1 requests, APIConnectionTimeoutError
501: 3 requests, InternalServerError
400: 1 requests, BadRequestError
TEXT
cmp -s seen expected || { echo "Changed: what the openai client sends again" >&2; exit 1; }
