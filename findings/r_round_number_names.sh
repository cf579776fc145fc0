#!/usr/bin/env bash
# paste0("step", n) of R is step1e+05 for 100000 and step123456 for 123456.
#
# Versions: Debian's r-base-core 4.2.2.
# Behaviour: a number becomes text in the shorter of its two forms, and an exponent wins by one character:
# 100000, 200000 and 1e6 get one, 10000 and 120000 do not. Integers (100000L) never do.
# A good engineer would guess: a whole number of six digits is written with six digits, as its neighbours.
# Output seen: step99999, step1e+05, step123456, step2e+05, step1e+06; nchar(100000) is 5; write.csv has
# 1e+05 too, where the column read in before was 100000 and had a fraction beside it.
# Why it matters: checkpoints and lengths are round numbers. The files of just these steps are not found,
# joins by such labels lose just these rows, and a strict reader refuses 1e+05 for a count of tokens.
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
need r-base-core 4.2.2.20221110
cat >check.R <<'R'
cat(paste0("step", c(99999, 100000, 123456, 200000, 1000000)), "\n")
cat(sprintf("step%s", c(100000, 120000)), "\n")
cat("integer", paste0("step", 100000L), "\n")
cat("characters", nchar(99999), nchar(100000), "\n")
write.csv(data.frame(tokens = c(100000, 123456.5)), row.names = FALSE, quote = FALSE)
left <- data.frame(step = as.character(c(99999, 100000)), loss = c(2, 1))
right <- data.frame(step = c("99999", "100000"), score = c(0.5, 0.6))
cat("rows of the join:", nrow(merge(left, right)), "\n")
R
Rscript --vanilla check.R | sed 's/ $//' >seen
cat seen
cat >expected <<'TEXT'
step99999 step1e+05 step123456 step2e+05 step1e+06
step1e+05 step120000
integer step100000
characters 5 5
tokens
1e+05
123456.5
rows of the join: 1
TEXT
cmp -s seen expected || { echo "Changed: round numbers as text in R" >&2; exit 1; }
