#!/usr/bin/env bash
# numpy's default_rng([7, 0]) and default_rng([7, 0, 0]) are default_rng(7), and [7, 1] is 7 + 2^32.
#
# Versions: Debian's python3-numpy 1.24.2.
# Behaviour: a seed is cut into words of 32 bits and the rest of the pool is filled with zeros. A list is
# these words in a row, so that zeros at its end are not there, and a large number is a list.
# A good engineer would guess: a list of seed and worker is another seed for each pair, and none of them is
# the bare seed; the list's length counts.
# Output seen: the first numbers of 7, [7], [7, 0] and [7, 0, 0] are equal, those of [7, 1] and 7 + 2^32, and
# of [7, 0, 1] and [7 + 2^64]; [0, 7] differs from 7.
# Why it matters: haystacks are drawn from [seed, sample] or [seed, task, sample]. Sample 0 of a task gets the
# numbers that the program drew from the seed before, for its order or its bootstrap, and experiments
# with and without one more level of the list share samples. With the seed last they differ.
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
need python3-numpy 1.24.2
cat >check.py <<'PY'
import numpy

print("numpy", numpy.__version__)
def first(seed):
    return numpy.random.default_rng(seed).integers(1000, size=4).tolist()
for seed in (7, [7], [7, 0], [7, 0, 0], [7, 1], 7 + 2**32, [7, 0, 1], [7 + 2**64], [0, 7], [1, 7]):
    print(f"{seed}: {first(seed)}")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
numpy 1.24.2
7: [944, 625, 684, 897]
[7]: [944, 625, 684, 897]
[7, 0]: [944, 625, 684, 897]
[7, 0, 0]: [944, 625, 684, 897]
[7, 1]: [870, 770, 875, 111]
4294967303: [870, 770, 875, 111]
[7, 0, 1]: [728, 833, 797, 484]
[18446744073709551623]: [728, 833, 797, 484]
[0, 7]: [796, 38, 225, 777]
[1, 7]: [777, 359, 515, 616]
TEXT
cmp -s seen expected || { echo "Changed: lists as seeds of numpy" >&2; exit 1; }
