#!/usr/bin/env bash
# np.vectorize scores a wrong answer and two half right ones as 0, 0, 0 instead of 0, 0.5, 0.5.
#
# Versions: Debian's python3-numpy 1.24.2.
# Behaviour: the result has the type of the first element's value, and all others are cut to it. An integer
# first makes 0 of 0.5. apply_along_axis does it with texts: what the first row gave is as long as any may be.
# A good engineer would guess: the type is that of all values together, as np.array of a list of them has it.
# Output seen: a score of 0, or 0.5 for half an answer, is 0 0 0 over wrong, half, half and 0.5 0.5 0.0 over
# half, half, wrong; joined words are "a-b" and "lon".
# Why it matters: a metric that returns 0 in its first branch and a fraction in its last is ordinary Python.
# The mean of a run depends on whether its first sample was right, and labels of groups run into one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2-"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numpy as np


def score(answer):
    return 0 if answer == "wrong" else 0.5


for answers in (["wrong", "half", "half"], ["half", "half", "wrong"]):
    found = np.vectorize(score)(answers)
    listed = np.array([score(answer) for answer in answers])
    print(*answers, "by vectorize:", *found, "mean", round(found.mean(), 3))
    print(*answers, "by a list:", *listed, "mean", round(listed.mean(), 3))
words = np.array([["a", "b"], ["longer", "word"]])
print("joined:", *np.apply_along_axis("-".join, 1, words))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
wrong half half by vectorize: 0 0 0 mean 0.0
wrong half half by a list: 0.0 0.5 0.5 mean 0.333
half half wrong by vectorize: 0.5 0.5 0.0 mean 0.333
half half wrong by a list: 0.5 0.5 0.0 mean 0.333
joined: a-b lon
TEXT
cmp -s seen expected || { echo "Changed: types of np.vectorize" >&2; exit 1; }
