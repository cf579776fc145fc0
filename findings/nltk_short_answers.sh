#!/usr/bin/env bash
# In nltk a right answer of three words has a BLEU of 0, and a string in place of a list of words has 1.
#
# Versions: Debian's python3-nltk 3.8.
# Behaviour: sentence_bleu() multiplies the shares of common 1- to 4-grams. An answer of up to three words has
# no 4-gram, which counts as a share of 2e-308: the score of an exact match is 1e-77 to 2e-231, with a
# warning for each. Strings are taken for lists of letters, so that another sentence scores high.
# A good engineer would guess: a score between 0 and 1 is 1 for equal texts, and a string is an error.
# Output seen: "New York City" to itself 1.2e-77, "Paris" 1.8e-231, four words 1.0; an answer
# with a wrong number scores 0.67 as words and 0.75 as strings.
# Why it matters: answers to questions over long contexts are a name or a number. Averaged over a data set,
# the share of answers of four words and more is reported as quality.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need python3-nltk 3.8
need python3-numpy 1.24.2
cat >check.py <<'PY'
import warnings
import nltk
from nltk.translate.bleu_score import corpus_bleu, sentence_bleu

warnings.simplefilter("ignore")
print("nltk", nltk.__version__)
for text in ("Paris", "New York", "New York City", "New York City Hall"):
    words = text.split()
    print(f"{text!r} to itself: {sentence_bleu([words], words):.1e}, corpus {corpus_bleu([[words]], [words]):.1e}")
answers = ["Paris", "New York City", "the red house by the river"]
scores = [sentence_bleu([text.split()], text.split()) for text in answers]
print(f"mean of three right answers: {sum(scores) / 3:.2f}")
right, wrong = "the magic number is 4128931", "the magic number is 7352046"
print(f"another number: words {sentence_bleu([right.split()], wrong.split()):.2f}, "
      f"strings {sentence_bleu([right], wrong):.2f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
nltk 3.8
'Paris' to itself: 1.8e-231, corpus 1.8e-231
'New York' to itself: 1.5e-154, corpus 1.5e-154
'New York City' to itself: 1.2e-77, corpus 1.2e-77
'New York City Hall' to itself: 1.0e+00, corpus 1.0e+00
mean of three right answers: 0.33
another number: words 0.67, strings 0.75
TEXT
cmp -s seen expected || { echo "Changed: BLEU of short answers in nltk" >&2; exit 1; }
