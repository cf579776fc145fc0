#!/usr/bin/env bash
# okapibm25 counts keywords as regular expressions inside of words, with case: "cat" is in
# concatenate.
#
# Versions: npm okapibm25 1.4.1.
# Behaviour: documents are cut into words for their length only. A keyword is counted by a RegExp made
# of it, anywhere in the text: parts of words count, "a.b" counts "axb", "Cat" is not "cat", "$5" is
# never found, and "c++" throws a SyntaxError.
# A good engineer would guess: BM25 counts terms: whole words of both sides, cut by the same rule, and
# text that is not a pattern.
# Output seen: cat scores 0.875 for "concatenate" as for "cat", 0 for "Cat"; "axb" is better for a.b
# than "a.b"; 5 alone scores 1.386, $5 0; c++ SyntaxError.
# Why it matters: contexts are shortened by keeping passages with the best scores for the question. A
# passage with "inform" wins for "for", and questions about prices or code find nothing, or fail.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  okapibm25@1.4.1 >/dev/null
cat >check.mjs <<'JS'
import module from "okapibm25";
const score = module.default ?? module;
const say = (documents, keyword) => {
  let found;
  try {
    found = score(documents, [keyword]).map((value) => value.toFixed(3)).join(" ");
  } catch (error) {
    found = error.name;
  }
  console.log(`${keyword} in ${documents.join(" | ")}: ${found}`);
};
say(["cat", "concatenate", "Cat", "dog", "fish"], "cat");
say(["a.b", "axb", "c", "d", "e"], "a.b");
say(["$5", "free", "c", "d", "e"], "$5");
say(["$5", "free", "c", "d", "e"], "5");
say(["c++", "c", "d", "e", "f"], "c++");
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
cat in cat | concatenate | Cat | dog | fish: 0.875 0.875 0.000 0.000 0.000
a.b in a.b | axb | c | d | e: 1.089 1.488 0.000 0.000 0.000
$5 in $5 | free | c | d | e: 0.000 0.000 0.000 0.000 0.000
5 in $5 | free | c | d | e: 1.386 0.000 0.000 0.000 0.000
c++ in c++ | c | d | e | f: SyntaxError
TEXT
cmp -s seen expected || { echo "Changed: what okapibm25 counts as a keyword" >&2; exit 1; }
