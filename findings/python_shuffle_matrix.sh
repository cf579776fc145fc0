#!/usr/bin/env bash
# random.shuffle of a matrix of ten rows leaves five of them, some three times.
#
# Versions: Debian's python3 3.11.2 and python3-numpy 1.24.2.
# Behaviour: two rows are swapped by x[i], x[j] = x[j], x[i]. A row of a matrix is a view: the second
# assignment reads what the first has just overwritten, so that one row is there twice and the other gone.
# A good engineer would guess: rows change places, as those of a list do and as numpy's shuffle does; or the
# call is refused.
# Output seen: of ten different rows 5 are left, of 1,000 less than 600; a list, an array of one dimension and
# numpy's own shuffle keep all.
# Why it matters: samples, token blocks of a corpus or chunks are shuffled before they are split. Shape and
# type stay, a third of the data is lost, and rows of the training part come again in the test part.
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
need python3-minimal 3.11.2
need python3-numpy 1.24.2
cat >check.py <<'PY'
import random

import numpy as np


def kept(shuffle, rows):
    matrix = np.stack([np.arange(rows), np.arange(rows)], 1)
    shuffle(matrix)
    assert matrix.shape == (rows, 2)
    return len(np.unique(matrix[:, 0]))


random.seed(1)
generator = np.random.default_rng(1)
print("10 rows:", kept(random.shuffle, 10), "left")
print("1000 rows:", "less than 600" if kept(random.shuffle, 1000) < 600 else "600 or more", "left")
print("1000 rows by numpy:", kept(generator.shuffle, 1000), "left")
flat = np.arange(1000)
random.shuffle(flat)
print("1000 numbers:", len(np.unique(flat)), "left")
rows = np.arange(2000).reshape(1000, 2).tolist()
random.shuffle(rows)
print("1000 rows of a list:", len(set(map(tuple, rows))), "left")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
10 rows: 5 left
1000 rows: less than 600 left
1000 rows by numpy: 1000 left
1000 numbers: 1000 left
1000 rows of a list: 1000 left
TEXT
cmp -s seen expected || { echo "Changed: random.shuffle of a matrix" >&2; exit 1; }
