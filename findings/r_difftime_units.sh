#!/usr/bin/env bash
# The difference of two times in R is 59 for 59 seconds and 1.016667 for 61.
#
# Versions: Debian's r-base-core 4.2.2.
# Behaviour: subtracting times picks a unit by the least difference of the vector: seconds below a minute,
# then minutes, hours, days. as.numeric(), a regression and paste() take the bare number.
# A good engineer would guess: the difference of two times in seconds is in seconds.
# Output seen: 59 s give 59, 61 s 1.016667, two hours 2; runs of 90 s and 3 h are 1.5 and 180, and with a
# third of 30 s they are 90, 10800, 30.
# Why it matters: runs at growing lengths take from seconds to hours, one row each. Row by row the curve
# of time falls from 59 to 1.02 where it grows, and the same run has another number when a short one is
# added to the table.
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
start <- as.POSIXct("2024-05-01 10:00:00", tz = "UTC")
for (seconds in c(59, 61, 3599, 7200, 172800)) {
  cat(seconds, "s:", format(as.numeric(start + seconds - start), digits = 7), "\n")
}
cat("90 s and 3 h:", as.numeric(start + c(90, 10800) - start), "\n")
cat("with 30 s:", as.numeric(start + c(90, 10800, 30) - start), "\n")
each <- sapply(c(59, 61), function(seconds) start + seconds - start)
cat("mean of 59 s and 61 s, row by row:", mean(each), "\n")
R
Rscript --vanilla check.R | sed 's/ $//' >seen
cat seen
cat >expected <<'TEXT'
59 s: 59
61 s: 1.016667
3599 s: 59.98333
7200 s: 2
172800 s: 2
90 s and 3 h: 1.5 180
with 30 s: 90 10800 30
mean of 59 s and 61 s, row by row: 30.00833
TEXT
cmp -s seen expected || { echo "Changed: units of differences of times in R" >&2; exit 1; }
