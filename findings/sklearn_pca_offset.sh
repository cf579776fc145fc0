#!/usr/bin/env bash
# scikit-learn's PCA of f32 rows with an offset of 100 gives a whitened column a spread of
# 5,400,000.
#
# Versions: scikit-learn 1.9.1, numpy 2.5.2.
# Behaviour: with many more rows than columns svd_solver="auto" takes the eigenvalues of x.T @ x / n
# minus the product of the means, in the type of the data. Small variances drown in the square of
# the offset and are cut to 0; svd_solver="full" subtracts the mean first.
# A good engineer would guess: a PCA removes the mean, so that an offset changes nothing; the
# default solver is a question of time.
# Output seen: 20,000 rows of 64, smallest variance 0.0101: offset 0 0.0101, offset 30 0.0053,
# offset 100 0 with "auto", 0.0101 with "full" for all; the last whitened column has the spread 1,
# 1.9 and 5,400,000 with "auto", 1 with "full".
# Why it matters: keys have offsets in a few channels, and are compressed or rotated by their
# principal directions. The directions that matter least for the variance are made the loudest.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="1.9.1 2.5.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("scikit-learn", "numpy")))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet scikit-learn==1.9.1 numpy==2.5.2
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import warnings
import numpy
import sklearn
from sklearn.decomposition import PCA

warnings.simplefilter("ignore")
print("sklearn", sklearn.__version__, "numpy", numpy.__version__)
rng = numpy.random.default_rng(0)
rows = (rng.standard_normal((20000, 64)) * numpy.linspace(2, 0.1, 64)).astype(numpy.float32)
found = {}
for offset in (0, 30, 100):
    moved = rows + numpy.float32(offset)
    for solver in ("auto", "full"):
        pca = PCA(whiten=True, svd_solver=solver)
        spread = float(pca.fit_transform(moved).std(0)[-1])
        found[offset, solver] = float(pca.explained_variance_[-1]), spread
        print(f"offset {offset}, {solver}: smallest variance {found[offset, solver][0]:.4f}, "
              f"its whitened spread {spread:.3g}")
ok = all(abs(found[offset, "full"][1] - 1) < 0.05 for offset in (0, 30, 100)) and abs(found[0, "auto"][1] - 1) < 0.05
ok = ok and found[100, "auto"][1] > 10 and found[100, "auto"][0] < 0.005
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
