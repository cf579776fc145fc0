#!/usr/bin/env bash
# R writes the length 100000 as 1e+05, beside 4096 and 131072 in one column.
#
# Versions: Debian's r-base-core 4.2.2, node and python3.
# Behaviour: each number takes the form with fewer letters, and 1e+05 is shorter than 100000. paste(), cat()
# and write.csv() do so for doubles, which 100000 is without an L behind it.
# A good engineer would guess: whole numbers are written whole, and a column has one form.
# Output seen: 4096, 1e+05, 131072, 2e+05, 128000, 1e+06 in a CSV file; the file name run_1e+05.json; Python's
# int() refuses it, JavaScript's parseInt() makes 1 and 2 of them.
# Why it matters: contexts of 100,000, 200,000 and a million tokens are the round ones among 32,768 and
# 131,072. Those rows alone are read as a length of 1, and their files are not found.
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
need r-base-core 4.2.2
cat >write.R <<'R'
lengths <- c(4096, 100000, 128000, 131072, 200000, 1000000)
write.csv(data.frame(length = lengths), row.names = FALSE)
R
cat >check.py <<'PY'
for line in open("lengths.csv").read().split()[1:]:
    try:
        print(f"int of {line}: {int(line)}")
    except ValueError:
        print(f"int of {line}: refused")
PY
Rscript --vanilla write.R >lengths.csv
{
  /usr/bin/python3 check.py
  node -p '"parseInt: " + require("fs").readFileSync("lengths.csv", "utf8").trim().split("\n").slice(1).map(
    (text) => parseInt(text)).join(" ")'
  Rscript --vanilla -e 'cat(paste0("run_", c(65536, 100000), ".json"), "\n")'
} >seen
cat seen
cat >expected <<'TEXT'
int of 4096: 4096
int of 1e+05: refused
int of 128000: 128000
int of 131072: 131072
int of 2e+05: refused
int of 1e+06: refused
parseInt: 4096 1 128000 131072 2 1
run_65536.json run_1e+05.json 
TEXT
cmp -s seen expected || { echo "Changed: round numbers that R writes" >&2; exit 1; }
