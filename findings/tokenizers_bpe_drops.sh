#!/usr/bin/env bash
# A BPE tokenizer without an unknown token leaves unknown characters out, without an error.
#
# Versions: tokenizers 0.23.2.
# Behaviour: without unk_token BPE skips what the vocabulary does not hold, and counts the offsets
# of what follows as if it had not been there. WordLevel without its unknown token raises.
# A good engineer would guess: what cannot be encoded raises, or becomes some token.
# Output seen: a vocabulary of a, b, ab: abXab is ab ab with offsets (0, 2) and (2, 4); trained on
# "hello world" without bytes, a Chinese word has 0 tokens; with unk_token abXab is ab [UNK] ab.
# Why it matters: lengths of prompts, costs and limits count tokens, and a needle in another script
# is not in the haystack. The model answers about the rest, and spans of answers found by offsets
# are those of other words.
#
# Uses the python3 at hand if it has these versions; installs them in a temporary folder else.
set -euo pipefail
WANTED="0.23.2"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=python3
have=$(python3 -c '
from importlib.metadata import version
print(*(version(name).split("+")[0] for name in ("tokenizers",)))' 2>/dev/null || true)
if [[ "$have" != "$WANTED" ]]; then
  python3 -m venv "$folder/venv"
  "$folder/venv/bin/pip" install --quiet tokenizers==0.23.2
  python=$folder/venv/bin/python
fi
cat >"$folder/check.py" <<'PY'
import sys
import tokenizers
from tokenizers import Tokenizer, models, trainers

print("tokenizers", tokenizers.__version__)
vocabulary = {"a": 0, "b": 1, "ab": 2, "[UNK]": 3}
plain = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")])).encode("abXab")
marked = Tokenizer(models.BPE(vocab=vocabulary, merges=[("a", "b")], unk_token="[UNK]")).encode("abXab")
print("abXab:", plain.tokens, plain.offsets, "with unk_token:", marked.tokens)
trained = Tokenizer(models.BPE())
trained.train_from_iterator(["hello world " * 9] * 9, trainers.BpeTrainer(vocab_size=300, show_progress=False))
foreign = trained.encode("\u5317\u4eac").ids
print("trained on hello world, two Chinese characters:", len(foreign), "tokens")
ok = plain.tokens == ["ab", "ab"] and plain.offsets == [(0, 2), (2, 4)] and "[UNK]" in marked.tokens and foreign == []
print("as described" if ok else "CHANGED")
sys.exit(0 if ok else 1)
PY
"$python" "$folder/check.py"
