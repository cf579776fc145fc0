#!/usr/bin/env bash
# In a batch of transformers.js a row goes on after its end token, until all rows end at the same step.
#
# Versions: npm @huggingface/transformers 4.3.2 with its own onnxruntime-node; model made with npm
# onnx-proto 8.0.1.
# Behaviour: after each step generate() asks whether the last token of every row is an end token. A row
# that has ended is fed on and its text appended; if no two rows end together all run to the limit. Alone
# the same rows end where they should.
# A good engineer would guess: a row that has ended is filled up with padding, as in Python's generate(),
# and the loop stops when the last row ends.
# Output seen: alone 1 new token and 3, the last of them the end token; together 12 and 12, with others
# behind the end token. If the model repeats its end token it is 3 and 3.
# Why it matters: answers of a batch hold what the model makes up behind its end, often the next question
# of the benchmark with an answer. Decoding without special tokens hides the seam, a match by substring
# may count it as right, and each batch costs the time of the longest answer allowed.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  @huggingface/transformers@4.3.2 onnx-proto@8.0.1 >/dev/null
cat >check.mjs <<'JS'
import fs from "node:fs";
import proto from "onnx-proto";
import { AutoModelForCausalLM, env, Tensor } from "@huggingface/transformers";
env.localModelPath = "models";
env.allowRemoteModels = false;
// A model whose next token depends on the last one only: rows of logarithms of probabilities.
async function chain(rows) {
  const vocabulary = rows.length;
  const type = (elemType, ...names) => ({
    tensorType: { elemType, shape: { dim: names.map((dimParam) => ({ dimParam })) } },
  });
  const floatData = rows.flat().map((p) => Math.log(p + 1e-9));
  const model = proto.onnx.ModelProto.create({
    irVersion: 8,
    opsetImport: [{ domain: "", version: 17 }],
    graph: {
      name: "graph",
      initializer: [{ name: "table", dataType: 1, dims: [vocabulary, vocabulary], floatData }],
      node: [{ opType: "Gather", input: ["table", "input_ids"], output: ["logits"] }],
      input: [{ name: "input_ids", type: type(7, "batch", "length") }],
      output: [{ name: "logits", type: type(1, "batch", "length", "vocabulary") }],
    },
  });
  fs.mkdirSync("models/chain/onnx", { recursive: true });
  fs.writeFileSync("models/chain/onnx/model.onnx", proto.onnx.ModelProto.encode(model).finish());
  fs.writeFileSync("models/chain/config.json", JSON.stringify({
    model_type: "llama", architectures: ["LlamaForCausalLM"], vocab_size: vocabulary,
    num_hidden_layers: 1, num_attention_heads: 1, num_key_value_heads: 1, hidden_size: 8,
  }));
  return await AutoModelForCausalLM.from_pretrained("chain", { dtype: "fp32" });
}
const end = 3;
const next = (...tokens) => tokens.map((t) => tokens.map((_, i) => i === t ? 1 : 0));
for (const [what, rows] of [["goes on", next(1, 2, 3, 4, 5, 4)], ["repeats", next(1, 2, 3, 3, 5, 4)]]) {
  const model = await chain(rows);
  for (const prompts of [[2], [0], [2, 0]]) {
    const column = (values) => new Tensor("int64", BigInt64Array.from(values), [values.length, 1]);
    const found = await model.generate({
      input_ids: column(prompts.map(BigInt)),
      attention_mask: column(prompts.map(() => 1n)),
      max_new_tokens: 12, eos_token_id: end, pad_token_id: 0,
    });
    const answers = found.tolist().map((ids) => ids.slice(1).join(" "));
    console.log(`${what} after ${end}, prompts ${prompts.join(" and ")}: ${answers.join(" | ")}`);
  }
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
goes on after 3, prompts 2: 3
goes on after 3, prompts 0: 1 2 3
goes on after 3, prompts 2 and 0: 3 4 5 4 5 4 5 4 5 4 5 4 | 1 2 3 4 5 4 5 4 5 4 5 4
repeats after 3, prompts 2: 3
repeats after 3, prompts 0: 1 2 3
repeats after 3, prompts 2 and 0: 3 3 3 | 1 2 3
TEXT
cmp -s seen expected || { echo "Changed: the ends of rows in transformers.js" >&2; exit 1; }
