#!/usr/bin/env bash
# lunr finds "needle" and not "needle?", whatever the documents hold.
#
# Versions: npm lunr 2.3.9.
# Behaviour: marks at the ends of words are cut when a document is indexed, and not when a query is read,
# which only goes through the stemmer. A word with a mark behind it equals no word of the index.
# A good engineer would guess: a query passes through what the documents passed through.
# Output seen: "needle" and "1990" are found; "needle?", "needle,", "needle." and "what is the needle?" find
# nothing, in a text that ends with "needle?" as well.
# Why it matters: questions of a benchmark end with a question mark behind the very word that counts, and
# the search before a long prompt returns nothing, or what the other words match. Reading a few queries by
# hand, typed without marks, shows a search that works.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  lunr@2.3.9 >/dev/null
cat >check.cjs <<'JS'
const lunr = require("lunr");
const index = lunr(function () {
  this.ref("id");
  this.field("text");
  this.add({ id: "a", text: "The needle is 4821." });
  this.add({ id: "b", text: "Built in 1990? Who lost the needle?" });
});
const queries = ["needle", "needle?", "needle,", "needle.", "what is the needle?", "what is the needle",
  "1990", "1990?"];
for (const query of queries) {
  console.log(`${query}: ${index.search(query).map((hit) => hit.ref).sort().join(" ") || "nothing"}`);
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
needle: a b
needle?: nothing
needle,: nothing
needle.: nothing
what is the needle?: nothing
what is the needle: a b
1990: b
1990?: nothing
TEXT
cmp -s seen expected || { echo "Changed: marks behind the words of a query in lunr" >&2; exit 1; }
