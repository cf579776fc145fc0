#!/usr/bin/env bash
# NLTK's scores of two equal answers: BLEU 0.178 to 1.117, chrF 0.167.
#
# Versions: Debian's python3-nltk 3.8.
# Behaviour: BLEU goes up to four words and chrF up to six letters; what an answer is too short for counts as
# a miss. Of BLEU's smoothings the fifth and seventh take an average with the next length and pass 1.
# A good engineer would guess: equal texts have the best score, and that is 1, whichever smoothing is chosen.
# Output seen: BLEU of "4096" with itself is 0 without a smoothing and 0.178 to 1 with one; of six equal
# words it is 1, and 1.117 by methods 5 and 7. chrF of "7" with itself is 0.167, of "4096" 0.667.
# Why it matters: answers of retrieval tasks are a number or two words. A perfect run scores 0.17, a model
# that adds words to its answers scores more, and means go above 1.
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
cat >check.py <<'PY'
import warnings

from nltk import __version__
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
from nltk.translate.chrf_score import sentence_chrf

warnings.simplefilter("ignore")
print("nltk", __version__)
for text in ("4096", "the needle", "the quick brown fox jumps over"):
    words = text.split()
    for method in (0, 1, 2, 4, 5, 7):
        smoothing = getattr(SmoothingFunction(), f"method{method}")
        score = sentence_bleu([words], words, smoothing_function=smoothing)
        print(f"BLEU of {text!r}, method {method}: {score:.3f}")
for text in ("7", "4096", "needle"):
    print(f"chrF of {text!r}: {sentence_chrf(text, text):.3f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
nltk 3.8
BLEU of '4096', method 0: 0.000
BLEU of '4096', method 1: 0.178
BLEU of '4096', method 2: 0.595
BLEU of '4096', method 4: 1.000
BLEU of '4096', method 5: 0.192
BLEU of '4096', method 7: 0.192
BLEU of 'the needle', method 0: 0.000
BLEU of 'the needle', method 1: 0.316
BLEU of 'the needle', method 2: 0.707
BLEU of 'the needle', method 4: 0.221
BLEU of 'the needle', method 5: 0.390
BLEU of 'the needle', method 7: 0.436
BLEU of 'the quick brown fox jumps over', method 0: 1.000
BLEU of 'the quick brown fox jumps over', method 1: 1.000
BLEU of 'the quick brown fox jumps over', method 2: 1.000
BLEU of 'the quick brown fox jumps over', method 4: 1.000
BLEU of 'the quick brown fox jumps over', method 5: 1.117
BLEU of 'the quick brown fox jumps over', method 7: 1.117
chrF of '7': 0.167
chrF of '4096': 0.667
chrF of 'needle': 1.000
TEXT
cmp -s seen expected || { echo "Changed: scores of equal answers in NLTK" >&2; exit 1; }
