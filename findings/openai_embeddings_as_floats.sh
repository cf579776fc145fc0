#!/usr/bin/env bash
# The OpenAI client makes two numbers of about 1e-38 of an embedding of eight, if a server sends numbers.
#
# Versions: npm openai 6.49.0, under node, with a server of a few lines in the same process.
# Behaviour: unless the call names an encoding, the client asks for base64 and decodes whatever comes. A list
# of numbers is decoded as if each were a byte, cut to its whole part, and four bytes make one number.
# A good engineer would guess: a list of numbers, the form of the API's reference, is returned as it is.
# Output seen: [0.5, -0.25, 0.125, 1, 0.5, -0.25, 0.125, 1] comes back as two numbers of 2.35e-38; with
# encoding_format "float" all eight are right.
# Why it matters: a local server that knows floats only ignores the field. There is no error: vectors are
# a quarter as long and nearly zero, all texts are alike, a store is created with that dimension, and
# retrieval over long documents returns anything.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  openai@6.49.0 >/dev/null
cat >check.mjs <<'JS'
import http from "node:http";
import OpenAI from "openai";
const embedding = [0.5, -0.25, 0.125, 1, 0.5, -0.25, 0.125, 1];
let asked;
const server = http.createServer(async (request, response) => {
  let body = "";
  for await (const part of request) body += part;
  asked = JSON.parse(body).encoding_format;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({
    object: "list", model: "m", data: [{ object: "embedding", index: 0, embedding }], usage: {},
  }));
});
await new Promise((ready) => server.listen(0, "127.0.0.1", ready));
const client = new OpenAI({ apiKey: "none", baseURL: `http://127.0.0.1:${server.address().port}/v1` });
for (const encoding of [{}, { encoding_format: "float" }]) {
  const { data } = await client.embeddings.create({ model: "m", input: "text", ...encoding });
  const found = Array.from(data[0].embedding);
  const small = found.every((x) => Math.abs(x) < 1e-37);
  console.log(`asked for ${asked}: ${found.length} numbers, ${small ? "all below 1e-37" : found.join(" ")}`);
}
server.close();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
asked for base64: 2 numbers, all below 1e-37
asked for float: 8 numbers, 0.5 -0.25 0.125 1 0.5 -0.25 0.125 1
TEXT
cmp -s seen expected || { echo "Changed: embeddings as numbers in the OpenAI client" >&2; exit 1; }
