import { ggufEndIds } from "../../lib/model/gguf/end_tokens.ts";
import { readGgufHeader } from "../../lib/model/gguf/files.ts";
import { TOKEN_TYPES } from "../../lib/model/gguf/token_table.ts";
import { type GgufPair, writeGgufFile } from "../../scripts/gguf_file.ts";
import { assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const { normal, control, userDefined } = TOKEN_TYPES;
/** As in Phi-3's files; the last one is a text like any other. */
const TOKENS = ["a", "<|endoftext|>", "<|end|>", "<|im_end|>", "<|user|>", "<|eot_id|>"];
const TABLE: readonly GgufPair[] = [
  ["tokenizer.ggml.tokens", "texts", TOKENS],
  ["tokenizer.ggml.token_type", "i32s", [normal, control, control, userDefined, control, normal]],
];

async function endIds(pairs: readonly GgufPair[]): Promise<number[]> {
  return await inFolder({}, async (folder) => {
    await writeGgufFile(`${folder}/m.gguf`, { pairs, tensors: [] });
    return ggufEndIds((await readGgufHeader(`${folder}/m.gguf`)).metadata);
  });
}

Deno.test("answers of a GGUF file end at named ids, and at special tokens whose texts say so", async () => {
  const eos: GgufPair = ["tokenizer.ggml.eos_token_id", "u32", 1];
  const eot: GgufPair = ["tokenizer.ggml.eot_token_id", "u32", 0];
  assertEquals(await endIds([eos, ...TABLE]), [1, 2, 3]);
  assertEquals(await endIds([eos, eot, ...TABLE]), [1, 0, 2, 3]);
  assertEquals(await endIds([eos, eot]), [1, 0]);
  assertEquals(await endIds([]), []);
});
