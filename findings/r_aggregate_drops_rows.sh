#!/usr/bin/env bash
# aggregate(cbind(f1, exact) ~ model) of R gives model a an f1 of 0.9, and aggregate(f1 ~ model) 0.5.
#
# Versions: Debian's r-base-core 4.2.2.
# Behaviour: a row in which any named column is missing is left out of all of them. na.rm, handed on to
# mean(), comes too late; a group that has a hole in each row is not in the result at all.
# A good engineer would guess: the mean of a column depends on that column; a missing number elsewhere
# makes that other mean NA, or is skipped there.
# Output seen: f1 of 0.1 and 0.9, where the exact match of the first is missing, is 0.9 together and 0.5
# alone; model c, without any exact match, has no row.
# Why it matters: metrics are missing where they do not apply or a sample failed, which is no accident: an
# exact match is missing for long answers. Adding a metric to a table changes the others or drops a model,
# without a warning.
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
runs <- data.frame(
  model = c("a", "a", "b", "b", "c"), f1 = c(0.1, 0.9, 0.5, 0.7, 0.8), exact = c(NA, 1, 0, 1, NA)
)
told <- function(name, table) {
  cat(name, paste(table$model, round(table$f1, 3), sep = " "), sep = "; ")
  cat("\n")
}
told("alone", aggregate(f1 ~ model, runs, mean))
told("together", aggregate(cbind(f1, exact) ~ model, runs, mean))
told("together, na.rm", aggregate(cbind(f1, exact) ~ model, runs, mean, na.rm = TRUE))
told("without a formula", aggregate(runs[c("f1", "exact")], runs["model"], mean, na.rm = TRUE))
R
Rscript --vanilla check.R >seen
cat seen
cat >expected <<'TEXT'
alone; a 0.5; b 0.6; c 0.8
together; a 0.9; b 0.6
together, na.rm; a 0.9; b 0.6
without a formula; a 0.5; b 0.6; c 0.8
TEXT
cmp -s seen expected || { echo "Changed: missing numbers in R's aggregate" >&2; exit 1; }
