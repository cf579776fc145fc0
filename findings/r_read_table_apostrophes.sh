#!/usr/bin/env bash
# R's read.table makes two rows of five, without a warning, where answers hold two apostrophes.
#
# Versions: Debian's r-base-core 4.2.2.
# Behaviour: an apostrophe quotes as a double quote does, at the beginning of a field and inside it, and a
# quotation may go over the ends of lines. From "it's" to the next "don't" all is one field. read.delim and
# read.csv know the double quote only.
# A good engineer would guess: sep="\t" is all that a file with tabs needs, and a quotation begins at the
# beginning of a field.
# Output seen: five rows of an id and an answer, two with an apostrophe: 2 rows, the first answer being
# three lines long; with one apostrophe, 2 rows and a warning; read.delim reads 5.
# Why it matters: answers of a model are English. Rows vanish in pairs of apostrophes, so that most files
# give no warning, and the mean of the rest is taken for that of the run.
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
printf 'score\tanswer\n%s\n' "$(printf '%s\t%s\n' 1 "it's" 0 no 0 no 1 "don't" 1 yes)" >answers.tsv
printf 'score\tanswer\n%s\n' "$(printf '%s\t%s\n' 1 yes 0 no 0 no 1 no 1 yes)" >plain.tsv
cat >check.R <<'R'
options(warn = 2)
for (file in c("plain.tsv", "answers.tsv")) {
  table <- read.table(file, header = TRUE, sep = "\t")
  other <- read.delim(file)
  cat(file, nrow(table), "rows, mean", mean(table$score), "\n")
  cat(file, nrow(other), "rows by read.delim, mean", mean(other$score), "\n")
}
cat("lines in the first answer:", length(strsplit(table$answer[1], "\n")[[1]]), "\n")
R
Rscript --vanilla check.R | sed 's/ $//' >seen
cat seen
cat >expected <<'TEXT'
plain.tsv 5 rows, mean 0.6
plain.tsv 5 rows by read.delim, mean 0.6
answers.tsv 2 rows, mean 1
answers.tsv 5 rows by read.delim, mean 0.6
lines in the first answer: 4
TEXT
cmp -s seen expected || { echo "Changed: apostrophes in R's read.table" >&2; exit 1; }
