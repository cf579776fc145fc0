#!/usr/bin/env bash
# A thought that the token limit cuts is the answer for generateText of the AI SDK; for streamText it is
# none.
#
# Versions: npm ai 6.0.326, with its own mock model, under node.
# Behaviour: extractReasoningMiddleware looks for pairs of <think> and </think> in a finished text, and leaves
# one without an end where it is. In a stream the opening tag alone begins the reasoning.
# A good engineer would guess: what follows <think> is never the answer, and both calls split one text at one
# place.
# Output seen: "<think>4821 or 4822" with the reason "length": generateText has all of it as
# text and no reasoning; streamText has an empty text and the reasoning. With </think> both agree.
# Why it matters: thoughts over long contexts reach the limit. A score that looks for the needle in the answer
# finds it in the thought, every candidate of it, so that accuracy rises as the limit falls; the same samples
# streamed are failures.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  ai@6.0.326 >/dev/null
cat >check.mjs <<'JS'
import { extractReasoningMiddleware, generateText, streamText, wrapLanguageModel } from "ai";
import { MockLanguageModelV3, simulateReadableStream } from "ai/test";
const usage = { inputTokens: { total: 1 }, outputTokens: { total: 9 } };
const open = (text, unified) => {
  const finishReason = { unified, raw: unified };
  const chunks = [
    { type: "stream-start", warnings: [] }, { type: "text-start", id: "1" },
    { type: "text-delta", id: "1", delta: text }, { type: "text-end", id: "1" },
    { type: "finish", finishReason, usage },
  ];
  return wrapLanguageModel({
    model: new MockLanguageModelV3({
      doGenerate: async () => ({ content: [{ type: "text", text }], finishReason, usage, warnings: [] }),
      doStream: async () => ({ stream: simulateReadableStream({ chunks }) }),
    }),
    middleware: extractReasoningMiddleware({ tagName: "think" }),
  });
};
const cut = "<think>4821 or 4822", complete = `${cut}</think>4821`;
for (const [text, reason] of [[cut, "length"], [complete, "stop"]]) {
  const whole = await generateText({ model: open(text, reason), prompt: "?" });
  const streamed = streamText({ model: open(text, reason), prompt: "?" });
  const told = (name, answer, thought = "") =>
    console.log(`${reason}, ${name}: text "${answer}", reasoning "${thought}"`);
  told("generateText", whole.text, whole.reasoningText);
  told("streamText", await streamed.text, await streamed.reasoningText);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
length, generateText: text "<think>4821 or 4822", reasoning ""
length, streamText: text "", reasoning "4821 or 4822"
stop, generateText: text "4821", reasoning "4821 or 4822"
stop, streamText: text "4821", reasoning "4821 or 4822"
TEXT
cmp -s seen expected || { echo "Changed: thoughts that are cut in the AI SDK" >&2; exit 1; }
