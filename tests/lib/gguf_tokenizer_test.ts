/**
 * Tokenizers of GGUF files' own tables give the ids of the `tokenizer.json` that they were made of.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { openChatTemplate } from "../../lib/model/chat_template.ts";
import { hasTokenizer } from "../../lib/model/model_paths.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { readTokenizerFile } from "../../lib/model/tokenizer_file.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { type GgufPair, writeGgufFile } from "../../scripts/gguf_file.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import {
  bytePairVocabulary,
  sentencePieceVocabulary,
  type TokenizerJson,
} from "../helpers/gguf_vocabulary.ts";
import { MODEL } from "../helpers/prompts.ts";
import { writeRealTokenizer } from "../helpers/real_tokenizers.ts";
import { ROOT } from "../helpers/sources.ts";

/** Letters of many scripts, runs of blanks, digits, and names of special tokens. */
const TEXTS = [
  "Hello, World! It's 1234567 o'clock, isn't it? WE'LL SEE.",
  "  leading and trailing blanks   \n\n\n\tand\r\nlines  ",
  "Ünïcödé é e\u0301, 日本語のテキスト, العربية, हिन्दी, 한국어, ไทย, 🙂👨‍👩‍👧 and \u0085\u200b\ufeff",
  "x = {'a': [1, 2.5e-3], \"b\": None}  # __init__ <|endoftext|> <s> [INST]",
  "CamelCaseWords andALLCAPS 3.14159 1e10 ①② x²",
  "\u2581 a\u2581b",
];

/** How GGUF files name the way in which they split; undefined for those of SentencePiece. */
const REAL: readonly (readonly [model: string, pre: string | undefined])[] = [
  ["Llama 3.2", "llama-bpe"],
  ["Qwen 2.5", "qwen2"],
  ["Qwen 3", "qwen2"],
  ["Mistral Nemo", "tekken"],
  ["SmolLM's form", "smollm"],
  ["Mistral 7B", undefined],
];

/** Runs with a folder with `tokenizer.json`, and a GGUF file elsewhere with a table of the same. */
async function withTables(
  folder: string,
  pairs: readonly GgufPair[],
  use: (path: string) => Promise<void>,
): Promise<void> {
  await Deno.mkdir(`${folder}/gguf`);
  const path = `${folder}/gguf/m.gguf`;
  await writeGgufFile(path, { pairs, tensors: [] });
  await use(path);
}

async function readJson(folder: string): Promise<TokenizerJson> {
  return JSON.parse(await Deno.readTextFile(`${folder}/tokenizer.json`));
}

async function assertSameIds(folder: string, path: string): Promise<void> {
  using expected = await loadTokenizer(folder);
  using tokenizer = await loadTokenizer(path);
  const source = await Deno.readTextFile(new URL("README.md", ROOT));
  const blanks = Array.from({ length: 40 }, (_, i) => `a${" ".repeat(i)}b${"\n".repeat(i)}`);
  for (const text of [...TEXTS, ...blanks, source]) {
    const ids = expected.encode(text);
    assertEquals(tokenizer.encode(text), ids, JSON.stringify(text.slice(0, 80)));
    assertEquals(tokenizer.decode([...ids]), expected.decode([...ids]));
  }
}

for (const [name, pre] of REAL) {
  Deno.test(`the tables of ${name} give the ids of its tokenizer.json`, async (t) => {
    await inFolder({}, async (folder) => {
      const isThere = await writeRealTokenizer(name, folder);
      await t.step({
        name: "with its texts",
        // The package with this tokenizer may be out of reach.
        ignore: !isThere,
        fn: () => checkTables(folder, pre),
      });
    });
  });
}

async function checkTables(folder: string, pre: string | undefined): Promise<void> {
  const json = await readJson(folder);
  const pairs = pre === undefined ? sentencePieceVocabulary(json) : bytePairVocabulary(json, pre);
  await withTables(folder, pairs, async (path) => {
    await assertSameIds(folder, path);
    if (pre !== undefined) return;
    const { json: made } = await readTokenizerFile(path);
    const { model: { merges } } = JSON.parse(new TextDecoder().decode(made));
    assertEquals(new Set(merges), new Set(json.model.merges));
  });
}

Deno.test("the shipped model's tables give its ids, in a thread and with a chat template", async () => {
  await inFolder({}, async (folder) => {
    const template = "{{ bos_token }}<{{ messages[0]['content'] }}>{{ eos_token }}";
    const pairs: GgufPair[] = [
      ...bytePairVocabulary(await readJson(MODEL), "llama-bpe"),
      ["tokenizer.chat_template", "text", template],
    ];
    await withTables(folder, pairs, async (path) => {
      await assertSameIds(MODEL, path);
      using tokenizer = await loadTokenizer(path);
      const [text = ""] = TEXTS;
      using thread = await openTokenizerThread(path);
      assertEquals(await thread.encode(text), tokenizer.encode(text));
      assertEquals(await hasTokenizer(path), true);
      const chat = await openChatTemplate(path);
      const prompt = await chat.render([{ role: "user", content: "hi" }]);
      assertEquals(prompt, "<|begin_of_text|><hi><|eot_id|>");
      const ends = ["<|eot_id|>", "<|end_of_text|>", "<|eom_id|>"];
      const endIds = ends.map((token) => tokenizer.tokenToId(token) ?? -1);
      assertEquals(chat.endTokens, ends.slice(0, 1));
      assertEquals(chat.endIds.toSorted(), endIds.toSorted());
      // Special tokens are skipped, unused ones are not there.
      assertEquals(tokenizer.decode(chat.endIds, { skipSpecialTokens: true }), "");
    });
  });
});

Deno.test("a tokenizer.json beside a GGUF file is taken in place of its tables", async () => {
  await inFolder({}, async (folder) => {
    const path = `${folder}/m.gguf`;
    const pairs: GgufPair[] = [["tokenizer.ggml.model", "text", "no_vocab"]];
    await writeGgufFile(path, { pairs, tensors: [] });
    assertEquals(await hasTokenizer(path), false);
    await assertRejects(() => loadTokenizer(path), FileError, "it has no 'tokenizer.ggml.tokens'");
    await assertRejects(() => openChatTemplate(path), FileError, "no 'tokenizer.chat_template'");
    await Deno.copyFile(`${MODEL}/tokenizer.json`, `${folder}/tokenizer.json`);
    await assertSameIds(MODEL, path);
  });
});

const BYTES = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`,
);

/** Tables that no tokenizer is made of, by what is wrong with them. */
const REFUSED: readonly (readonly [fault: string, pairs: readonly GgufPair[], line: string])[] = [
  [
    "another model",
    [["tokenizer.ggml.model", "text", "bert"], ["tokenizer.ggml.tokens", "texts", ["a"]]],
    `'tokenizer.ggml.model' must be "gpt2" or "llama": current value is "bert"`,
  ],
  [
    "another way of splitting",
    bytePairPairs({ pre: "kimi-k2" }),
    `'tokenizer.ggml.pre' must be one of llama-bpe`,
  ],
  ["no way of splitting", bytePairPairs({}), `current value is missing`],
  [
    "a token twice",
    bytePairPairs({ pre: "gpt-2", texts: ["a", "b", "a"] }),
    `token "a" has the ids 0 and 2`,
  ],
  [
    "too few types",
    [...bytePairPairs({ pre: "gpt-2" }), ["tokenizer.ggml.token_type", "i32s", [1]]],
    "'tokenizer.ggml.token_type' must have 2 items",
  ],
  ["equal scores", piecePairs([-1, -1]), `"ab" and "bc" both have -1`],
  [
    "probabilities",
    piecePairs([-1.5, -2.5]),
    "must be a whole number, a rank: current value is -1.5",
  ],
  ["no bytes", piecePairs([-1, -2], []), "256 tokens of a byte each: current value is 0"],
];

function bytePairPairs(table: { pre?: string; texts?: readonly string[] }): GgufPair[] {
  const { pre, texts = ["a", "b"] } = table;
  return [
    ["tokenizer.ggml.model", "text", "gpt2"],
    ["tokenizer.ggml.tokens", "texts", texts],
    ["tokenizer.ggml.merges", "texts", []],
    ...(pre === undefined ? [] : [["tokenizer.ggml.pre", "text", pre] as const]),
  ];
}

/** Pieces a, b, c, ab and bc, the last two with scores. */
function piecePairs(scores: readonly number[], bytes: readonly string[] = BYTES): GgufPair[] {
  const pieces = ["a", "b", "c", "ab", "bc"];
  const types = [2, ...bytes.map(() => 6), ...pieces.map(() => 1)];
  const all = [0, ...bytes.map(() => 0), 0, 0, 0, ...scores];
  return [
    ["tokenizer.ggml.model", "text", "llama"],
    ["tokenizer.ggml.tokens", "texts", ["<unk>", ...bytes, ...pieces]],
    ["tokenizer.ggml.token_type", "i32s", types],
    ["tokenizer.ggml.scores", "f32s", all],
  ];
}

for (const [fault, pairs, line] of REFUSED) {
  Deno.test(`a GGUF file's tables with ${fault} are refused by name`, async () => {
    await inFolder({}, async (folder) => {
      await withTables(folder, pairs, async (path) => {
        const error = await assertRejects(() => loadTokenizer(path), FileError, line);
        assert(!error.message.includes("\n"));
      });
    });
  });
}

Deno.test("pieces are joined by their scores, and bytes stand for what is no piece", async () => {
  await inFolder({}, async (folder) => {
    await withTables(folder, piecePairs([-2, -1]), async (path) => {
      using tokenizer = await loadTokenizer(path);
      const ids = (pieces: readonly string[]) =>
        Int32Array.from(pieces, (piece) => tokenizer.tokenToId(piece) ?? -1);
      const start = ["<0xE2>", "<0x96>", "<0x81>"];
      assertEquals(tokenizer.encode("abc"), ids([...start, "a", "bc"]));
      assertEquals(tokenizer.encode("ab\u00e9"), ids([...start, "ab", "<0xC3>", "<0xA9>"]));
    });
  });
});
