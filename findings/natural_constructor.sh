#!/usr/bin/env bash
# natural's TF-IDF of the word "constructor" is NaN in every text that does not hold it.
#
# Versions: npm natural 8.1.1.
# Behaviour: the words of a text are the keys of a plain object, and a missing word is looked up in what all
# objects inherit, where constructor is a function. All words are made small letters, so that this is the
# one word of English and of code that meets it.
# A good engineer would guess: a word that does not occur weighs 0.
# Output seen: of three texts, the two without "constructor" have NaN and the one with it 1.405; "bridge"
# is 0, 1.405 and 0; a query of both words is NaN for the two as well.
# Why it matters: code is what long contexts are filled with, and "constructor" is in every class of it. A
# query with it orders its texts by NaN, which sort() leaves anywhere, and thresholds drop all of
# them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  natural@8.1.1 >/dev/null
cat >check.cjs <<'JS'
const { TfIdf } = require("natural");
const index = new TfIdf();
index.addDocument("The grass is green and the sky is blue.");
index.addDocument("class Bridge { constructor(name) { this.name = name; } }");
index.addDocument("The sun is yellow.");
for (const query of ["constructor", "bridge", "constructor bridge", "destructor"]) {
  const scores = [];
  index.tfidfs(query, (_, score) => scores.push(Number(score.toFixed(3))));
  console.log(`${query}: ${scores.join(" ")}`);
}
JS
node check.cjs | grep -v 'injected env' >seen
cat seen
cat >expected <<'TEXT'
constructor: NaN 1.405 NaN
bridge: 0 1.405 0
constructor bridge: NaN 2.811 NaN
destructor: 0 0 0
TEXT
cmp -s seen expected || { echo "Changed: the word constructor in natural's TF-IDF" >&2; exit 1; }
