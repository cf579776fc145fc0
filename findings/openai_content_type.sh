#!/usr/bin/env bash
# A JSON answer without the content type for JSON comes out of the openai client as a string.
#
# Versions: npm openai 7.59.0, against a server on 127.0.0.1 that is part of this script.
# Behaviour: with text/plain, or no content type at all, `create()` resolves to the body's text
# although its type says ChatCompletion, so that `completion.choices` is undefined. A body with
# status 200 and an `error` object in it resolves, too.
# A good engineer would guess: a client that asks for JSON parses what it gets, or throws; it never
# returns a value of another type.
# Output seen: application/json an object with 1 choice; text/plain and none a string; error
# resolved.
# Why it matters: home-made servers and proxies for local models often send text/plain. The failure
# is "cannot read properties of undefined" somewhere else, and a harness that writes `choices?.[0]`
# records empty answers for a whole benchmark.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@7.59.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import OpenAI from "openai";
const message = { role: "assistant", content: "42" };
const choices = [{ index: 0, message, finish_reason: "stop" }];
let headers = {}, answer;
const server = createServer((_request, response) => {
  response.writeHead(200, headers);
  response.end(JSON.stringify(answer));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const baseURL = `http://127.0.0.1:${server.address().port}/v1`;
const client = new OpenAI({ apiKey: "none", baseURL });
const body = { model: "m", messages: [{ role: "user", content: "?" }] };
for (const type of ["application/json", "text/plain", undefined]) {
  headers = type === undefined ? {} : { "content-type": type };
  answer = { id: "1", object: "chat.completion", created: 1, model: "m", choices };
  const completion = await client.chat.completions.create(body);
  console.log(`${type}: ${typeof completion}, ${completion.choices?.length} choices`);
}
headers = { "content-type": "application/json" };
answer = { error: { message: "out of memory" } };
const { error, choices: none } = await client.chat.completions.create(body);
console.log(`error in a body with status 200: resolved, choices ${none}, "${error.message}"`);
server.close();
server.closeAllConnections();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
application/json: object, 1 choices
text/plain: string, undefined choices
undefined: string, undefined choices
error in a body with status 200: resolved, choices undefined, "out of memory"
TEXT
cmp -s seen expected || { echo "Changed: content types in the openai client" >&2; exit 1; }
