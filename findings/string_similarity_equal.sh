#!/usr/bin/env bash
# string-similarity gives 1 for 12131 and 13121, and for "1 2" and "12".
#
# Versions: npm string-similarity 4.0.4.
# Behaviour: white space is removed, and then the pairs of neighbouring characters are compared as a bag,
# without their order. Texts of one character have no pairs and get 0 unless they are equal.
# A good engineer would guess: 1 means equal, up to case or white space at the ends at most.
# Output seen: 1 for 12131 and 13121, for "1 2" and "12", for "4 8 15" and "48 15", for "not able" and
# "notable"; 0 for "A" and "a" and for 7 and 8, but 0.83 for 1234567 and 1234560. Of the numbers 1000000
# to 1009999, 224 have another with a score of 1 in their own middle turned round.
# Why it matters: as a lenient score of needles (score 1, or above 0.9) it passes other numbers and lists
# cut at other places, and answers of one letter are all or nothing.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  string-similarity@4.0.4 >/dev/null
cat >check.cjs <<'JS'
const { compareTwoStrings } = require("string-similarity");
const pairs = [["12131", "13121"], ["1 2", "12"], ["4 8 15", "48 15"], ["not able", "notable"],
  ["A", "a"], ["7", "8"], ["1234567", "1234560"], ["1213141", "1413121"]];
for (const [a, b] of pairs) console.log(`${a} | ${b}: ${compareTwoStrings(a, b).toFixed(2)}`);
let same = 0;
for (let n = 1_000_000; n < 1_010_000; n++) {
  const digits = String(n), middle = [...digits.slice(1, -1)].reverse().join("");
  const other = digits[0] + middle + digits.at(-1);
  if (other !== digits && compareTwoStrings(digits, other) === 1) same++;
}
console.log("of 10000 numbers equal to another with its middle turned round:", same);
JS
node check.cjs 2>/dev/null >seen
cat seen
cat >expected <<'TEXT'
12131 | 13121: 1.00
1 2 | 12: 1.00
4 8 15 | 48 15: 1.00
not able | notable: 1.00
A | a: 0.00
7 | 8: 0.00
1234567 | 1234560: 0.83
1213141 | 1413121: 1.00
of 10000 numbers equal to another with its middle turned round: 224
TEXT
cmp -s seen expected || { echo "Changed: equal texts of string-similarity" >&2; exit 1; }
