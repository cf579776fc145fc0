#!/usr/bin/env bash
# transformers.js takes top_p and num_beams and does nothing with either, while top_k and temperature
# work.
#
# Versions: npm @huggingface/transformers 4.3.2 with its own onnxruntime-node; model made with npm
# onnx-proto 8.0.1.
# Behaviour: top_p, typical_p and num_beams are documented options of generate() and raise no warning.
# Tokens outside of the top half of the mass are sampled as without top_p, and four beams
# find what greedy search finds.
# A good engineer would guess: an option that is declared with its meaning is carried out, or refused as
# more than one returned sequence is in greedy search.
# Output seen: top_p 0.5 lets all six tokens through, top_k 2 lets two through; the beams end with
# probability 0.12, where 0.4 is to be had.
# Why it matters: generation settings that models ship have top_p and top_k together, and a runtime is
# compared with another one at "the same" settings. Here the tail of the vocabulary stays in, which
# over long answers is what derails them.
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
const generate = async (model, options) => {
  const one = (value) => new Tensor("int64", BigInt64Array.of(value), [1, 1]);
  const found = await model.generate({ input_ids: one(0n), attention_mask: one(1n), ...options });
  return found.tolist()[0].map(Number).slice(1);
};
const same = await chain(new Array(6).fill([0.3, 0.22, 0.16, 0.12, 0.1, 0.1]));
for (const options of [{}, { top_p: 0.5 }, { typical_p: 0.2 }, { top_k: 2 }]) {
  const all = { do_sample: true, max_new_tokens: 400, top_k: 0, ...options };
  console.log(JSON.stringify(options), "samples", new Set(await generate(same, all)).size, "of 6 tokens");
}
const even = [0.2, 0.2, 0.2, 0.2, 0.2];
const trap = await chain([[0, 0.6, 0.4, 0, 0], even, [0, 0, 0, 1, 0], even, even]);
for (const num_beams of [1, 4]) {
  const first = (await generate(trap, { num_beams, max_new_tokens: 2 }))[0];
  console.log(`${num_beams} beams: token ${first}, probability ${first === 2 ? 0.4 : 0.12} of two tokens`);
}
JS
node check.mjs >seen
cat seen
cat >expected <<'TEXT'
{} samples 6 of 6 tokens
{"top_p":0.5} samples 6 of 6 tokens
{"typical_p":0.2} samples 6 of 6 tokens
{"top_k":2} samples 2 of 6 tokens
1 beams: token 1, probability 0.12 of two tokens
4 beams: token 1, probability 0.12 of two tokens
TEXT
cmp -s seen expected || { echo "Changed: top_p and num_beams of transformers.js" >&2; exit 1; }
