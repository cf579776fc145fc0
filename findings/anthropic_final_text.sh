#!/usr/bin/env bash
# finalText() of the Anthropic client puts a space between the blocks of an answer: 8123 is "81 23".
#
# Versions: npm @anthropic-ai/sdk 1.14.0, against a server of this file.
# Behaviour: the blocks of text of the message are joined with " ". The message itself and the events of
# "text" have them as they came.
# A good engineer would guess: "concatenated together", as the description of the method has it, adds
# nothing; the events and finalText() are one text.
# Output seen: blocks "The needle is 81", "23" and "." are "The needle is 81 23 ."; the events joined are
# "The needle is 8123."
# Why it matters: servers of this protocol begin a new block at a citation or behind a thought, in the middle
# of a line. Exact matches fail, lists get double spaces, code is broken, and only in answers of several
# blocks.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @anthropic-ai/sdk@1.14.0 >/dev/null
cat >check.mjs <<'JS'
import { createServer } from "node:http";
import Anthropic from "@anthropic-ai/sdk";
const blocks = ["The needle is 81", "23", "."];
const server = createServer((_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const send = (type, fields) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  const usage = { input_tokens: 5, output_tokens: 1 };
  const message = { id: "1", type: "message", role: "assistant", model: "m", content: [], usage };
  send("message_start", { message: { ...message, stop_reason: null, stop_sequence: null } });
  for (const [index, text] of blocks.entries()) {
    send("content_block_start", { index, content_block: { type: "text", text: "" } });
    send("content_block_delta", { index, delta: { type: "text_delta", text } });
    send("content_block_stop", { index });
  }
  send("message_delta", { delta: { stop_reason: "end_turn", stop_sequence: null }, usage });
  send("message_stop", {});
  response.end();
}).listen(0, "127.0.0.1");
await new Promise((done) => server.once("listening", done));
const client = new Anthropic({ baseURL: `http://127.0.0.1:${server.address().port}`, apiKey: "none" });
const messages = [{ role: "user", content: "What is the needle?" }];
const stream = client.messages.stream({ model: "m", max_tokens: 9, messages });
let events = "";
stream.on("text", (text) => events += text);
console.log("finalText:", await stream.finalText());
console.log("events:", events);
console.log("blocks:", JSON.stringify((await stream.finalMessage()).content.map((block) => block.text)));
server.close();
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
finalText: The needle is 81 23 .
events: The needle is 8123.
blocks: ["The needle is 81","23","."]
TEXT
cmp -s seen expected || { echo "Changed: blocks of text in finalText() of the Anthropic client" >&2; exit 1; }
