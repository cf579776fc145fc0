/**
 * What `tokenizer_config.json` adds to a tokenizer.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { modelDigest, modelDigests, tokenizerDigest } from "../../lib/model/digest.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const LETTERS = ["a", "b", "<", "x", ">", "s"];

function filesOf(decoder: unknown): Record<string, string> {
  const tokenizer = {
    added_tokens: [{
      id: LETTERS.length,
      content: "<s>",
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    }],
    model: {
      type: "BPE",
      merges: [],
      vocab: Object.fromEntries(LETTERS.map((letter, id) => [letter, id])),
    },
  };
  return {
    "tokenizer.json": JSON.stringify(tokenizer),
    "tokenizer_config.json": JSON.stringify({ added_tokens_decoder: decoder }),
  };
}

/** Two further tokens. */
const FURTHER = { "8": { content: "<x>", special: true }, "7": { content: "ab" } } as const;

Deno.test("loadTokenizer() has the tokens that tokenizer_config.json adds", async () => {
  const files = filesOf({
    ...FURTHER,
    // These are known: what the vocabulary's own file says stands.
    "6": { content: "<s>", special: false },
    "0": { content: "a" },
  });
  await inFolder(files, async (folder) => {
    using tokenizer = await loadTokenizer(folder);
    assertEquals([...tokenizer.encode("<s>abb<x>a")], [6, 7, 1, 8, 0]);
    assertEquals(tokenizer.tokenToId("<x>"), 8);
    const skip = { skipSpecialTokens: true };
    assertEquals(tokenizer.decode([6, 7, 8], skip), "ab");
  });
});

Deno.test("loadTokenizer() refuses an id of tokenizer_config.json that the token would not have", async () => {
  await inFolder(filesOf({ "9": { content: "<x>" } }), async (folder) => {
    await assertRejects(
      () => loadTokenizer(folder),
      FileError,
      `the added token "<x>" must have the id that the library gives it, which is 7: current ` +
        "value is 9",
    );
  });
});

Deno.test("tokenizerDigest() changes with what tokenizer_config.json changes, and with no more", async () => {
  const files = filesOf({});
  const digestOf = (config: unknown) =>
    inFolder(
      { ...files, "tokenizer_config.json": JSON.stringify(config) },
      (folder) => tokenizerDigest(folder),
    );
  const cleaned = { clean_up_tokenization_spaces: true };
  const [plain, ...same] = await Promise.all([
    digestOf({}),
    digestOf({ model_max_length: 5, clean_up_tokenization_spaces: false }),
    digestOf({ added_tokens_decoder: { "6": { content: "<s>" } } }),
  ]);
  const others = await Promise.all([
    digestOf(cleaned),
    digestOf({ added_tokens_decoder: { "7": { content: "<x>" } } }),
    digestOf({ added_tokens_decoder: { "7": { content: "<x>", special: true } } }),
  ]);
  assertEquals(same, [plain, plain]);
  assertEquals(new Set([plain, ...others]).size, 4);
});

Deno.test("modelDigests() parses a tokenizer once, and gives what results already have", async () => {
  const rest = { "config.json": "{}", "model.safetensors": "weights" };
  const files: Record<string, string> = { ...filesOf(FURTHER), ...rest };
  const digests = {
    model: "b708afceeae7c1c3413c2399a13f90380c17888de2c6bc7c32bdb108f9fb68b7",
    tokenizer: "71d6cccc262374981b2856ea98b889c397fa9286caa8ceafa5d2cd891da538b6",
  };
  const { parse } = JSON;
  let parsed = 0;
  JSON.parse = (text, reviver) => {
    if (text === files["tokenizer.json"]) parsed++;
    return parse(text, reviver);
  };
  try {
    await inFolder(files, async (folder) => {
      assertEquals(await modelDigests(folder), digests);
      assertEquals(parsed, 1);
      assertEquals([await modelDigest(folder), await tokenizerDigest(folder)], [
        digests.model,
        digests.tokenizer,
      ]);
    });
  } finally {
    JSON.parse = parse;
  }
});
