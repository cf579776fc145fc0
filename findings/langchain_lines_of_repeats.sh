#!/usr/bin/env bash
# LangChain's text splitter puts the last chunk of a 40 line text at lines 20 to 21, if lines repeat.
#
# Versions: npm @langchain/textsplitters 1.0.2 with @langchain/core 1.4.0.
# Behaviour: a chunk has no place of its own; it is searched in the text, from one character behind the
# place of the one before. Where the text repeats, that finds an earlier copy, and each chunk moves a line
# on instead of a chunk.
# A good engineer would guess: the splitter cut the chunk out and knows from where.
# Output seen: of 40 equal lines in 20 chunks of two the last is at lines 20 to 21 instead of 39 to 40; with
# numbered lines it is right.
# Why it matters: haystacks are made of a few sentences again and again, and logs, tables and code repeat
# as well. Where a chunk was found is a figure's depth or a citation: the second half of the document seems
# never to be retrieved.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @langchain/textsplitters@1.0.2 @langchain/core@1.4.0 >/dev/null
cat >check.mjs <<'JS'
import { RecursiveCharacterTextSplitter } from "@langchain/textsplitters";
const line = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again.";
const splitter = new RecursiveCharacterTextSplitter({ chunkSize: 200, chunkOverlap: 0 });
for (const [name, mark] of [["equal", () => ""], ["numbered", (i) => `${i}: `]]) {
  const text = Array.from({ length: 40 }, (_, i) => mark(100 + i) + line).join("\n");
  const chunks = await splitter.createDocuments([text]);
  const { from, to } = chunks.at(-1).metadata.loc.lines;
  console.log(`${name}: ${chunks.length} chunks, the last at lines ${from} to ${to}`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
equal: 20 chunks, the last at lines 20 to 21
numbered: 20 chunks, the last at lines 39 to 40
TEXT
cmp -s seen expected || { echo "Changed: lines of repeated chunks in LangChain" >&2; exit 1; }
