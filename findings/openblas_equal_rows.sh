#!/usr/bin/env bash
# Equal rows of a matrix come out of OpenBLAS's product as unequal rows.
#
# Versions: Debian's libopenblas0-pthread 0.3.21 with python3-numpy 1.24.2, one thread, with the
# kernels for Prescott, which every x86-64 processor runs; those for Haswell and Zen do it, too.
# Behaviour: rows are taken in groups of the kernel's height, and the rest by another kernel that adds
# in another order. Which bits a row gets depends on its place and on how many rows there are. A matrix
# times its own transposed takes yet another way than times that of a copy.
# A good engineer would guess: a batch of another size may have other bits, but equal rows of one
# product are equal, and x @ x.T is x @ copy(x).T.
# Output seen: of 3, 5 and 7 equal rows the last differs, of 2, 4 and 6 none (for Haswell the rows behind
# each fourth); x @ x.T differs from x @ copy(x).T. All are within 1e-4 of f64.
# Why it matters: a prompt that is in a batch three times has other logits the third time, so that greedy
# answers can differ within one batch. "The result does not depend on the place in the batch" fails for
# the reference itself, and a test of it, bit by bit, passes with 4 rows and fails with 3.
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
need python3-numpy 1.24.2
need libopenblas0-pthread 0.3.21
export OPENBLAS_CORETYPE=Prescott OPENBLAS_NUM_THREADS=1
# Where another library serves as the system's BLAS, this one is found first.
export LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu/openblas-pthread
cat >check.py <<'PY'
import numpy
random = numpy.random.default_rng(0)
normal = lambda *shape: random.standard_normal(shape).astype(numpy.float32)
weights, row = normal(1000, 64), normal(1, 1000)
exact = row.astype(float) @ weights.astype(float)
for rows in range(1, 8):
    y = numpy.repeat(row, rows, axis=0) @ weights
    other = [i for i in range(rows) if not numpy.array_equal(y[i], y[0])]
    near = bool((abs(y - exact) < 1e-4).all())
    print(f"{rows} equal rows: unlike the first {other}, all within 1e-4 {near}")
x = normal(33, 1000)
print("x @ x.T is x @ x.copy().T:", numpy.array_equal(x @ x.T, x @ x.copy().T))
PY
/usr/bin/python3 check.py >seen
cat seen
cat >expected <<'TEXT'
1 equal rows: unlike the first [], all within 1e-4 True
2 equal rows: unlike the first [], all within 1e-4 True
3 equal rows: unlike the first [2], all within 1e-4 True
4 equal rows: unlike the first [], all within 1e-4 True
5 equal rows: unlike the first [4], all within 1e-4 True
6 equal rows: unlike the first [], all within 1e-4 True
7 equal rows: unlike the first [6], all within 1e-4 True
x @ x.T is x @ x.copy().T: False
TEXT
cmp -s seen expected || { echo "Changed: equal rows in products of OpenBLAS" >&2; exit 1; }
