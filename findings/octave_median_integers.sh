#!/usr/bin/env bash
# Octave's median of 100 and 101 as int8 is 64, and that of 200 and 201 as uint8 is 128.
#
# Versions: Debian's octave 7.3.0.
# Behaviour: of an even count the two middle numbers are added in their own type, which stops at its
# largest number, and then halved. mean(), and the median of an odd count, are right.
# A good engineer would guess: a median lies between the two middle numbers, whatever type they have;
# mean() of the same array does.
# Output seen: 64 for int8 100 and 101, 128 for uint8 200 and 201, 16384 for int16 30000 and 30001,
# 1073741824 for int32 2000000000 and 2000000001; mean() gives 100.5 and so on.
# Why it matters: 8-bit activations, scores of 0 to 255 and counts of tokens above a thousand million
# are kept in such types. The median of a channel is less than its least value, and a robust threshold
# made of it passes everything; with one sample more it is right again.
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
need octave 7.3.0
cat >check.m <<'M'
names = {"int8", "uint8", "int16", "int32"};
lows = [100, 200, 30000, 2000000000];
for i = 1:4
  pair = feval(names{i}, lows(i) + [0 1]);
  three = feval(names{i}, lows(i) + [0 1 2]);
  printf("%s %d %d: median %d, mean %.1f\n", names{i}, pair, median(pair), mean(pair));
  printf("%s %d %d %d: median %d\n", names{i}, three, median(three));
end
printf("double 100 101: median %.1f\n", median([100 101]));
M
octave-cli --no-gui --no-init-file --quiet check.m >seen 2>/dev/null
cat seen
cat >expected <<'TEXT'
int8 100 101: median 64, mean 100.5
int8 100 101 102: median 101
uint8 200 201: median 128, mean 200.5
uint8 200 201 202: median 201
int16 30000 30001: median 16384, mean 30000.5
int16 30000 30001 30002: median 30001
int32 2000000000 2000000001: median 1073741824, mean 2000000000.5
int32 2000000000 2000000001 2000000002: median 2000000001
double 100 101: median 100.5
TEXT
cmp -s seen expected || { echo "Changed: the median of integers in Octave" >&2; exit 1; }
