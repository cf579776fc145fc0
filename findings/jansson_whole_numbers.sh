#!/usr/bin/env bash
# Jansson's json_real_value() of 1 is 0: a score of 0.5 is read, a score of 1 is 0.
#
# Versions: Debian's libjansson-dev 2.14, gcc 12.2.0, and node.
# Behaviour: a number without a point is another type, and the value of the wrong type is 0 without an error.
# json_unpack() with "f" fails for it; json_number_value() reads both.
# A good engineer would guess: JSON has one kind of number, and a function that returns a double reads 1.
# Output seen: of Python's [0.5, 1.0] all is read; of JavaScript's [0.5, 1] the second is 0, and so are jq's;
# json_unpack ends with -1.
# Why it matters: JavaScript, jq and Go write whole numbers without a point. A reader in C that was tried on
# Python's files takes each perfect score, each temperature of 1 and each rope scale of 8 for 0.
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
need libjansson-dev 2.14
need gcc 4:12.2.0
need jq 1.6
cat >read.c <<'C'
#include <jansson.h>
#include <stdio.h>
int main(int count, char** arguments) {
  for (int each = 1; each < count; each++) {
    json_t* scores = json_loads(arguments[each], 0, NULL);
    printf("%s:", arguments[each]);
    for (size_t at = 0; at < json_array_size(scores); at++) {
      json_t* score = json_array_get(scores, at);
      printf(" real %g number %g,", json_real_value(score), json_number_value(score));
    }
    double first, second;
    printf(" unpack %d\n", json_unpack(scores, "[f,f]", &first, &second));
  }
  return 0;
}
C
gcc read.c -o read -ljansson
by_python=$(/usr/bin/python3 -c 'import json; print(json.dumps([0.5, 1.0]))')
by_node=$(node -p 'JSON.stringify([0.5, 1.0])')
by_jq=$(echo '[0.5, 1.0]' | jq -c .)
./read "$by_python" "$by_node" "$by_jq" >seen
cat seen
cat >expected <<'TEXT'
[0.5, 1.0]: real 0.5 number 0.5, real 1 number 1, unpack 0
[0.5,1]: real 0.5 number 0.5, real 0 number 1, unpack -1
[0.5,1]: real 0.5 number 0.5, real 0 number 1, unpack -1
TEXT
cmp -s seen expected || { echo "Changed: whole numbers in Jansson" >&2; exit 1; }
