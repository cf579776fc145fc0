#!/usr/bin/env bash
# The bytes package reads 16GiB as 16 bytes, and 512M as 512.
#
# Versions: npm bytes 3.1.2, which Express and other servers read their limits with.
# Behaviour: a text that is not a number with b, kb, mb, gb, tb or pb behind it is cut behind its first digits
# and taken for bytes. Only a text without leading digits is null.
# A good engineer would guess: what cannot be read is null, "upon error", or the units of powers of two are
# known by their proper name, since gb means them here.
# Output seen: 16GiB is 16, 1KiB 1, 512M 512, 2 G 2, 1e9 1, 1,024 1; 1.5GB is 1610612736, GiB alone null.
# Why it matters: the memory of a cache or the largest body of a request is written 16GiB or 512M by the
# configurations of Kubernetes, Slurm and JVM. The limit is 16 bytes, without an error: every request with a
# long prompt is refused, or nothing is ever cached.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  bytes@3.1.2 >/dev/null
cat >check.cjs <<'JS'
const bytes = require("bytes");
for (const text of ["16GB", "16GiB", "1KiB", "512M", "2 G", "1.5GB", "1e9", "1,024", "GiB"]) {
  console.log(`${text}: ${bytes.parse(text)}`);
}
JS
node check.cjs >seen
cat seen
cat >expected <<'TEXT'
16GB: 17179869184
16GiB: 16
1KiB: 1
512M: 512
2 G: 2
1.5GB: 1610612736
1e9: 1
1,024: 1
GiB: null
TEXT
cmp -s seen expected || { echo "Changed: sizes that the bytes package reads" >&2; exit 1; }
