#!/usr/bin/env bash
# scikit-learn's log_loss of log-probabilities is log 2, for right answers, wrong ones and any model.
#
# Versions: Debian's python3-sklearn 1.2.1 and python3-numpy 1.24.2.
# Behaviour: numbers are first forced into 1e-15 to 1 and then divided by their sum. Logarithms are below 0,
# all become 1e-15, and each option is as likely as the others; numbers above 1 become equal as well. There is
# no warning.
# A good engineer would guess: negative "probabilities", or rows that do not add up to 1, are refused, or
# taken as they are.
# Output seen: 0.6931 for logs of a model that is right and of one that is wrong, 1.3863 (log 4) with four
# options; logits 9 and 2 give 0.6931; probabilities 0.02 and 0.01 of two options among all tokens 0.4055.
# Why it matters: a runtime reports log-probabilities of the options' tokens. Handed on as they are they give
# a loss that looks like a model without any knowledge; probabilities of tokens are made conditional on the
# options, unasked.
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
need python3-sklearn 1.2.1+dfsg
need python3-numpy 1.24.2
cat >check.py <<'PY'
import warnings

import numpy as np
from sklearn.metrics import log_loss

warnings.simplefilter("error")
right = np.array([[0.9, 0.1], [0.1, 0.9]])
four = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
cases = (
    ("right", right),
    ("logs of right", np.log(right)),
    ("logs of wrong", np.log(right[::-1])),
    ("logs of four options", np.log(four)),
    ("logits", np.array([[9.0, 2.0], [2.0, 9.0]])),
    ("0.02 and 0.01", np.array([[0.02, 0.01], [0.01, 0.02]])),
)
for name, given in cases:
    print(f"{name}: {log_loss(range(len(given)), given):.4f}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
right: 0.1054
logs of right: 0.6931
logs of wrong: 0.6931
logs of four options: 1.3863
logits: 0.6931
0.02 and 0.01: 0.4055
TEXT
cmp -s seen expected || { echo "Changed: log_loss of log-probabilities" >&2; exit 1; }
