#!/usr/bin/env bash
# Python's random.seed() drops the sign: -7 and 7 are one seed, and so are 1, 1.0 and True.
#
# Versions: Debian's python3 3.11.2 and python3-numpy 1.24.2.
# Behaviour: the absolute value of an integer is the seed. numpy refuses a negative one in both of its
# generators.
# A good engineer would guess: two integers are two streams, and all bits of the integer count, as
# they do for 2**64 and 2**64 + 1.
# Output seen: seeds -7 and 7 give the same 3 of 1,000 sentences, 2**64 and 2**64 + 1 do not; numpy
# raises twice.
# Why it matters: tasks such as RULER draw needles and haystacks by random.seed(base + index). With a
# base like -100, or seeds from a signed hash, samples come twice, and an error bar counts them as
# two.
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
need python3-numpy 1:1.24.2
cat >check.py <<'PY'
import random
import numpy


def drawn(seed):
    random.seed(seed)
    return random.sample(range(1000), 3)


for one, other in ((-7, 7), (-(2**40), 2**40), (1, 1.0), (1, True), (7, 8), (2**64, 2**64 + 1)):
    same = drawn(one) == drawn(other)
    print(f"random.seed: {one} and {other}: {'the same' if same else 'different'}")
samples = [tuple(drawn(-4 + index)) for index in range(8)]
print(f"seeds -4 to 3: {len(set(samples))} different samples of {len(samples)}")
for name, make in (("default_rng", numpy.random.default_rng), ("RandomState", numpy.random.RandomState)):
    try:
        make(-7)
        print(f"numpy {name}(-7): no error")
    except ValueError:
        print(f"numpy {name}(-7): ValueError")
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
random.seed: -7 and 7: the same
random.seed: -1099511627776 and 1099511627776: the same
random.seed: 1 and 1.0: the same
random.seed: 1 and True: the same
random.seed: 7 and 8: different
random.seed: 18446744073709551616 and 18446744073709551617: different
seeds -4 to 3: 5 different samples of 8
numpy default_rng(-7): ValueError
numpy RandomState(-7): ValueError
TEXT
cmp -s seen expected || { echo "Changed: seeds of Python's random" >&2; exit 1; }
