#!/usr/bin/env bash
# A column of type STRING in SQLite stores the hashes 0e12345 and 0e99999 as the number 0.
#
# Versions: Debian's sqlite3 3.40.1.
# Behaviour: the type's name is looked through for INT, CHAR, CLOB, TEXT, BLOB, REAL, FLOA and DOUB. "STRING"
# has none of them and means a number: text that looks like one becomes it.
# A good engineer would guess: STRING is another name of TEXT, as in other databases; or an unknown type is
# refused or stores what it is given.
# Output seen: 0e12345 and 0e99999 are 0, 007 is 7, 1e5 is 100000, ab12 is text; as a key, the second of
# two hashes is ignored as a repeat; TEXT keeps all.
# Why it matters: a cache of answers by hash of the prompt returns another prompt's answer, and needles with
# a leading zero match nothing. Nearly all hashes have other letters, so that small tests pass.
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
need sqlite3 3.40.1
for type in STRING TEXT; do
  sqlite3 :memory: \
    "CREATE TABLE cache (hash $type PRIMARY KEY, answer TEXT)" \
    "INSERT OR IGNORE INTO cache VALUES ('0e12345', 'one'), ('0e99999', 'two'), ('007', 'three'),
      ('1e5', 'four'), ('ab12', 'five')" \
    "SELECT '$type', hash, typeof(hash), answer FROM cache ORDER BY rowid" \
    "SELECT '$type', 'answer of 0e99999', answer FROM cache WHERE hash = '0e99999'"
done >seen
cat seen
cat >expected <<'LINES'
STRING|0|integer|one
STRING|7|integer|three
STRING|100000|integer|four
STRING|ab12|text|five
STRING|answer of 0e99999|one
TEXT|0e12345|text|one
TEXT|0e99999|text|two
TEXT|007|text|three
TEXT|1e5|text|four
TEXT|ab12|text|five
TEXT|answer of 0e99999|two
LINES
cmp -s seen expected || { echo "Changed: columns of type STRING in SQLite" >&2; exit 1; }
