#!/usr/bin/env bash
# h5diff ends with 0 for arrays of other shapes or types: a lost row is no difference.
#
# Versions: Debian's hdf5-tools 1.10.8.
# Behaviour: arrays whose shape or class differ are "not comparable", which is a note on the output and no
# difference. With -q there is neither note nor code.
# A good engineer would guess: 0 means that the files hold the same, as it does for diff and cmp.
# Output seen: 2 x 3 against 3 x 3 ends with 0, floats against integers of the same values with 0, one
# changed number with 1; under -q the first two print nothing.
# Why it matters: a test writes activations or keys and values to HDF5 and compares them with a reference
# by h5diff. A number in the last digits fails it, while a missing token, a lost layer's axis or an array
# of the wrong type passes.
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
need hdf5-tools 1.10.8+repack1
rows() { printf '%s\n' "${@:2}" >"$1.txt"; }
rows same '1 2 3' '4 5 6'
rows changed '1 2 3' '4 5 9'
rows longer '1 2 3' '4 5 6' '7 8 9'
write() {
  printf '%s\n' "PATH x" "INPUT-CLASS TEXT$3" "INPUT-SIZE 32" "RANK 2" "DIMENSION-SIZES $4 3" \
    "OUTPUT-CLASS $3" "OUTPUT-SIZE 32" >config
  h5import "$1.txt" -c config -o "$2.h5" >/dev/null
}
write same floats FP 2
write same again FP 2
write changed changed FP 2
write longer longer FP 3
write same integers IN 2
for other in again changed longer integers; do
  code=0 quiet=0
  h5diff floats.h5 "$other.h5" >said || code=$?
  h5diff -q floats.h5 "$other.h5" >silent || quiet=$?
  grep -q 'not comparable' said && note="a note" || note="no note"
  echo "$other: code $code, $note; with -q code $quiet, $(wc -c <silent) bytes"
done >seen
cat seen
cat >expected <<'TEXT'
again: code 0, no note; with -q code 0, 0 bytes
changed: code 1, no note; with -q code 1, 0 bytes
longer: code 0, a note; with -q code 0, 0 bytes
integers: code 0, a note; with -q code 0, 0 bytes
TEXT
cmp -s seen expected || { echo "Changed: arrays that h5diff does not compare" >&2; exit 1; }
