#!/usr/bin/env bash
# With 3,000 equal vectors in hnswlib, half of 1,000 other vectors no longer find themselves.
#
# Versions: Debian's python3-hnswlib 0.6.2 and python3-numpy 1.24.2.
# Behaviour: each point keeps links to a few nearest points. Equal vectors fill these with one another, and
# the search, which walks along links, does not get out of them. ef, the width of the search, changes
# nothing from 10 to 100; at 200 nearly all are found.
# A good engineer would guess: recall depends on M and ef, and grows with ef step by step; repeats cost
# memory.
# Output seen: of 1,000 random vectors in 16 dimensions all find themselves without repeats and with 3,000
# other ones added first; with 3,000 equal ones first 523 at ef 10, 523 at ef 100 and 993 at ef 200.
# Why it matters: chunks of long documents repeat: licences, page headers, empty chunks, which all have one
# embedding. Unlike passages are not found, and as ten times the ef does not help at all it reads as a weak
# embedding.
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
need python3-hnswlib 0.6.2
need python3-numpy 1.24.2
cat >check.py <<'PY'
import hnswlib
import numpy as np

DIMENSIONS = 16
OTHERS = 1000


def found(first, ef):
    generator = np.random.default_rng(1)
    others = generator.normal(size=(OTHERS, DIMENSIONS)).astype(np.float32)
    vectors = np.concatenate([first, others])
    index = hnswlib.Index(space="l2", dim=DIMENSIONS)
    index.init_index(max_elements=len(vectors), M=16, ef_construction=200, random_seed=100)
    index.add_items(vectors, num_threads=1)
    index.set_ef(ef)
    labels, _ = index.knn_query(others, k=1, num_threads=1)
    return (labels[:, 0] == np.arange(len(first), len(vectors))).mean()


equal = np.ones((3000, DIMENSIONS), np.float32)
unequal = np.random.default_rng(2).normal(size=(3000, DIMENSIONS)).astype(np.float32)
for name, first in (("none", equal[:0]), ("3000 unequal", unequal), ("3000 equal", equal)):
    narrow, wide, wider = (found(first, ef) for ef in (10, 100, 200))
    told = "nearly all" if narrow > 0.98 else "less than three in four" if narrow < 0.75 else "most"
    more = "the same" if abs(wide - narrow) < 0.02 else "others"
    last = "nearly all" if wider > 0.98 else "not all"
    print(f"{name} before: {told} at ef 10, {more} at 100, {last} at 200")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
none before: nearly all at ef 10, the same at 100, nearly all at 200
3000 unequal before: nearly all at ef 10, the same at 100, nearly all at 200
3000 equal before: less than three in four at ef 10, the same at 100, nearly all at 200
TEXT
cmp -s seen expected || { echo "Changed: equal vectors in hnswlib" >&2; exit 1; }
