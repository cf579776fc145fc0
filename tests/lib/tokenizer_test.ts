/**
 * Tokenizers of all kinds, compared with Hugging Face's native library where it can be had, and what
 * is refused or switched off of `tokenizer.json`.
 *
 * @module
 */
import { FileError, RequestError } from "../../lib/errors.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertThrows,
} from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { compareNative } from "../helpers/native_tokenizer.ts";
import { Random } from "../helpers/random.ts";
import { REAL_TOKENIZERS } from "../helpers/real_tokenizers.ts";
import { sharedFolder } from "../helpers/shared.ts";

const SEED = 20261129;
const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;
const shared = sharedFolder();
const SPACE = "\u2581";
/** Scores, or ids in this order. */
const PIECES: readonly (readonly [string, number])[] = [
  ["<unk>", 0],
  ["<s>", 0],
  ["</s>", 0],
  [SPACE, -2],
  [`${SPACE}the`, -3],
  ["a", -3.5],
  ["b", -4],
  ["c", -4],
  [`${SPACE}cat`, -5],
  ["t", -4],
  ["h", -4],
  ["e", -4],
  ["cat", -6],
  ["s", -5],
  ["at", -5.5],
  ["<0x0A>", -9],
];
const IDS = Object.fromEntries(PIECES.map(([token], id) => [token, id]));

function added(content: string, id: number): Record<string, unknown> {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, content, ...flags, special: true };
}

function fileOf(parts: Record<string, unknown>): Record<string, unknown> {
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [added("<s>", 1), added("</s>", 2)],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...parts,
  };
}

const BPE = { vocab: IDS, merges: [["a", "t"]], unk_token: "<unk>" };
const MODELS: Readonly<Record<string, Record<string, unknown>>> = {
  "Unigram": { type: "Unigram", unk_id: 0, vocab: PIECES },
  "Unigram with bytes": { type: "Unigram", unk_id: 0, vocab: PIECES, byte_fallback: true },
  "Unigram without a type": { unk_id: 0, vocab: PIECES },
  "BPE with bytes": { type: "BPE", ...BPE, byte_fallback: true, fuse_unk: true },
  "BPE without a type": BPE,
  "BPE with merges as texts": { type: "BPE", ...BPE, merges: ["a t"] },
  "BPE with dropout": { type: "BPE", ...BPE, dropout: null },
  "WordPiece": {
    type: "WordPiece",
    unk_token: "<unk>",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: IDS,
  },
  "WordLevel": { type: "WordLevel", unk_token: "<unk>", vocab: IDS },
};
const METASPACES: readonly (Record<string, unknown> | null)[] = [
  null,
  { type: "Metaspace", replacement: SPACE, add_prefix_space: true },
  { type: "Metaspace", replacement: SPACE, prepend_scheme: "first", split: true },
  { type: "Metaspace", replacement: SPACE, prepend_scheme: "never", split: false },
  { type: "Metaspace", replacement: SPACE, prepend_scheme: "always", split: false },
  {
    type: "Sequence",
    pretokenizers: [
      { type: "WhitespaceSplit" },
      { type: "Metaspace", replacement: SPACE, add_prefix_space: true },
    ],
  },
];
const SMALL_TEXTS = [
  ...["the cat", "  the  cat s", "thecats", "a\nb", "<s>the cat</s> the", "X\u00e9 the"],
  ...["the<s> cat", " ", "\ufb01 the\u3000cat", "at bat", ""],
];

/** Files of every model, pre-tokenizer and decoder above. */
function smallFiles(): { name: string; json: string }[] {
  return Object.entries(MODELS).flatMap(([name, model]) =>
    METASPACES.flatMap((pre, i) =>
      [null, { type: "NFKC" }].map((normalizer) => ({
        name: `${name}, Metaspace ${i}, ${normalizer?.type ?? "no normalizer"}`,
        json: JSON.stringify(fileOf({
          model,
          normalizer,
          pre_tokenizer: pre,
          decoder: pre?.type === "Metaspace" ? pre : null,
        })),
      }))
    )
  );
}

/** 300 texts of all that tokenizers split at, and of RULER's sentences. */
function manyTexts(): string[] {
  const parts = [
    ..."   \n\n\t\r\x0b\x85\xa0\u2028\u3000\ufeff....,;:!?'\"()[]{}<>|-_*#@&/\\^~`$%+=",
    ..."aZ09sT\u017f\u212a\u00e9\u00df\u4e2d\ud55c\u0665\u00bd\u{1f600}\u0301e\u0301",
    ...["'s", "'Ll", ". ", "\r\n", " \n \n", "    ", "12345678", "8d3f-9abc-00ff", "<s>", "</s>"],
    ...["<|im_start|>user\n", "<|im_end|>\n", "The", " grass is green.", "Document 3:\n", "\t\t"],
    ...[" One of the special magic numbers for jalape\u00f1o-cr\u00e8me is: 4171982.", " 17. word"],
    ...["\u0434\u043e\u043c", "\u0627\u0644\u0639", "\u0e44\u0e17\u0e22", "\u{1f1e9}\u{1f1ea}"],
  ];
  const random = new Random(SEED);
  return Array.from({ length: 300 }, () => {
    const count = 1 + random.below(40);
    return Array.from({ length: count }, () => parts[random.below(parts.length)] ?? "").join("")
      .toWellFormed();
  });
}

const small = await compareNative({ texts: SMALL_TEXTS, files: smallFiles() });

Deno.test({
  name: "loadTokenizer() gives the native library's ids and texts for small files of all models",
  ignore: small === undefined,
  fn() {
    assertEquals(small?.length, smallFiles().length);
    for (const { name, differences, refusal, compared } of small ?? []) {
      assertEquals([differences, refusal], [[], ""], name);
      assertEquals(compared, SMALL_TEXTS.length, name);
    }
  },
});

/** Contexts and queries of all of RULER's tasks; none where the material is missing. */
async function rulerTexts(): Promise<string[]> {
  const folder = `${shared}/ruler/golden/4096`;
  if (shared === undefined) return [];
  const texts: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    const [line = ""] = (await Deno.readTextFile(`${folder}/${name}`)).split("\n");
    const { input_context: context, input_query: query } = JSON.parse(line);
    texts.push(context, query);
  }
  return texts;
}

const REAL_TEXTS = [...manyTexts(), ...await rulerTexts()];
const real = await compareNative({
  texts: REAL_TEXTS,
  files: REAL_TOKENIZERS.map((name) => ({ name })),
});

for (const [i, name] of REAL_TOKENIZERS.entries()) {
  const report = real?.[i];
  Deno.test({
    name: `loadTokenizer() gives the native library's ids and texts for ${name}, seed ${SEED}`,
    // The package with this tokenizer may be out of reach where the library is not.
    ignore: report === undefined || report.missing !== "",
    fn() {
      const { differences, refusal, compared } = report ?? {};
      assertEquals([differences, refusal, compared], [[], "", REAL_TEXTS.length]);
    },
  });
}

const MERGED = { model: { ...MODELS["BPE with bytes"] } };
const PIECE_LIMIT = 6 * 2 ** 20;

Deno.test("truncation, padding, dropout and post-processors have no effect", async () => {
  const plain = fileOf(MERGED);
  const changed = fileOf({
    model: { ...MERGED.model, dropout: 0.9 },
    truncation: { max_length: 3, strategy: "LongestFirst", stride: 0, direction: "Right" },
    padding: {
      strategy: { Fixed: 64 },
      direction: "Right",
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: "<unk>",
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
  });
  const files = { "a/tokenizer.json": plain, "b/tokenizer.json": changed };
  const texts = Object.fromEntries(Object.entries(files).map(([k, v]) => [k, JSON.stringify(v)]));
  await inFolder(texts, async (folder) => {
    using first = await loadTokenizer(`${folder}/a`);
    using second = await loadTokenizer(`${folder}/b`);
    const text = "catatbat".repeat(20);
    for (let i = 0; i < 5; i++) assertEquals(second.encode(text), first.encode(text));
    assertEquals([...first.encode("bat")], [6, 14]);
  });
});

Deno.test("decode() keeps a byte order mark at the text's start", async () => {
  using tokenizer = await loadTokenizer(TINY);
  const text = "\ufeffThe grass";
  assertEquals(tokenizer.decode([...tokenizer.encode(text)]), text);
});

Deno.test("halves of surrogate pairs are tokenized as U+FFFD", async () => {
  using tokenizer = await loadTokenizer(TINY);
  const text = "bad \ud83d half \udc00";
  assertEquals(tokenizer.encode(text), tokenizer.encode("bad \ufffd half \ufffd"));
  assertEquals(tokenizer.count(text), tokenizer.encode(text).length);
});

Deno.test("an added token whose id the library renumbers is refused with both ids", async () => {
  const json = JSON.stringify(fileOf({ ...MERGED, added_tokens: [added("<pad>", 300)] }));
  await inFolder({ "tokenizer.json": json }, async (folder) => {
    await assertRejects(
      () => loadTokenizer(folder),
      FileError,
      `the added token "<pad>" must have the id that the library gives it, which is 16: current ` +
        "value is 300",
    );
  });
});

/** A vocabulary of all bytes, decoded as those of Llama 2 and Mistral are. */
const HEX = Array.from({ length: 256 }, (_, i) => i.toString(16).toUpperCase().padStart(2, "0"));
const BYTES = fileOf({
  model: {
    type: "BPE",
    byte_fallback: true,
    merges: [],
    unk_token: "<unk>",
    vocab: Object.fromEntries(
      ["<unk>", "<s>", "</s>", ...HEX.map((hex) => `<0x${hex}>`), "x", `${SPACE}the`]
        .map((token, id) => [token, id]),
    ),
  },
  decoder: {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: SPACE }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  },
});
const FIRST_BYTE_ID = 3;
const X_ID = FIRST_BYTE_ID + 256;
const LOST = "\ufffd";

Deno.test("decode() keeps what stands beside bytes that are no character", async () => {
  // Bytes as numbers, other tokens as texts. An unfinished character is what a stop word sees.
  const cases: readonly (readonly [(number | "x" | "the")[], string])[] = [
    [["x", 0x0a], "x\n"],
    [["x", 0x0a, 0xf0], `x\n${LOST}`],
    [["x", 0x0a, 0xf0, 0x9d], `x\n${LOST}${LOST}`],
    [["x", 0x0a, 0xf0, 0x9d, 0x93], `x\n${LOST}${LOST}${LOST}`],
    [["x", 0x0a, 0xf0, 0x9d, 0x93, 0x90], "x\n\u{1d4d0}"],
    [["x", 0xc3, 0xa9, 0x80, 0x0a, 0xc3], `x\u00e9${LOST}\n${LOST}`],
    [["x", 0xe2, 0x82, 0x0a, "the", 0xac, 0x41], `x${LOST}${LOST}\n the${LOST}A`],
    // Two bytes for one of ASCII, half of a surrogate pair, above U+10FFFF, no byte of UTF-8.
    [["x", 0xc0, 0x8a], `x${LOST}${LOST}`],
    [["x", 0xed, 0xa0, 0x80], `x${LOST}${LOST}${LOST}`],
    [["x", 0xf4, 0x90, 0x80, 0x80, 0xff], `x${LOST.repeat(5)}`],
    [[0xef, 0xbb, 0xbf, 0xf0], `\ufeff${LOST}`],
  ];
  await inFolder({ "tokenizer.json": JSON.stringify(BYTES) }, async (folder) => {
    using tokenizer = await loadTokenizer(folder);
    for (const [parts, text] of cases) {
      const ids = parts.map((part) => {
        if (typeof part === "number") return FIRST_BYTE_ID + part;
        return part === "x" ? X_ID : X_ID + 1;
      });
      assertEquals(tokenizer.decode(ids), text, JSON.stringify(parts));
    }
  });
});

Deno.test("decode() leaves the names of bytes alone where no decoder joins them", async () => {
  await inFolder(
    { "tokenizer.json": JSON.stringify({ ...BYTES, decoder: { type: "Fuse" } }) },
    async (folder) => {
      using tokenizer = await loadTokenizer(folder);
      assertEquals(tokenizer.decode([X_ID, FIRST_BYTE_ID + 0xf0]), "x<0xF0>");
    },
  );
});

Deno.test("decode() drops spaces as tokenizer_config.json says", async () => {
  const text = "It ' s n't a cat , is it ? No ! I 'm .";
  const cases = [
    [undefined, text],
    [{ clean_up_tokenization_spaces: false }, text],
    [{}, text],
    [{ clean_up_tokenization_spaces: true }, "It'sn't a cat, is it? No! I'm."],
  ] as const;
  const json = await Deno.readTextFile(`${TINY}/tokenizer.json`);
  for (const [config, expected] of cases) {
    const files: Record<string, string> = { "tokenizer.json": json };
    if (config !== undefined) files["tokenizer_config.json"] = JSON.stringify(config);
    await inFolder(files, async (folder) => {
      using tokenizer = await loadTokenizer(folder);
      assertEquals(tokenizer.decode([...tokenizer.encode(text)]), expected);
    });
  }
});

Deno.test("a text that would break the library is refused, and the tokenizer works on", async () => {
  const json = JSON.stringify(fileOf(MERGED));
  await inFolder({ "tokenizer.json": json }, async (folder) => {
    using tokenizer = await loadTokenizer(folder);
    const error = assertThrows(() => tokenizer.encode("\u3042".repeat(PIECE_LIMIT)), RequestError);
    assertMatch(
      error.message,
      new RegExp(`at most ${PIECE_LIMIT} bytes .*: .* is ${PIECE_LIMIT * 3}`),
    );
    assertEquals([...tokenizer.encode("bat")], [6, 14]);
  });
});

Deno.test("a long text with blanks is tokenized in pieces, to the same ids", async () => {
  using tokenizer = await loadTokenizer(TINY);
  const line = "The grass is green. 17. word\n\n  18. word <|eot_id|> caf\u00e9 \u{1f600}.\n";
  const one = tokenizer.encode(line.repeat(8));
  const times = 1200;
  const many = tokenizer.encode(line.repeat(8 * times));
  assertEquals(many.length, one.length * times);
  for (let i = 0; i < times; i++) {
    const part = many.subarray(i * one.length, (i + 1) * one.length);
    assert(part.every((id, j) => id === one[j]), `part ${i} must be the same`);
  }
});

const REFUSED: readonly (readonly [name: string, files: Record<string, string>, line: RegExp])[] = [
  [
    "SentencePiece alone",
    { "tokenizer.model": "x" },
    /tokenizer\.json as the tokenizer must be in this form: found tokenizer\.model alone .*AutoTok/,
  ],
  [
    "a Git LFS pointer",
    { "tokenizer.json": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 3\n" },
    /tokenizer\.json: it is a Git LFS pointer, not the file itself/,
  ],
  [
    "an unknown model",
    { "tokenizer.json": JSON.stringify({ model: { type: "Magic", vocab: {} } }) },
    /'model\.type' must be one of BPE, Unigram, WordPiece, WordLevel, found "Magic"/,
  ],
  [
    "a Unigram vocabulary without scores",
    { "tokenizer.json": JSON.stringify({ model: { type: "Unigram", vocab: ["a"] } }) },
    /'model\.vocab' must hold pairs of token and score, found "a"/,
  ],
];

for (const [name, files, line] of REFUSED) {
  Deno.test(`loadTokenizer() refuses ${name}`, async () => {
    await inFolder(files, async (folder) => {
      const error = await assertRejects(() => loadTokenizer(folder), FileError);
      assertMatch(error.message, line);
    });
  });
}

Deno.test({
  name: "the shared case of a tokenizer with truncation has all its 601 tokens",
  ignore: shared === undefined,
  async fn() {
    const folder = `${shared}/cases/tokenizer_truncation`;
    using tokenizer = await loadTokenizer(`${folder}/model`);
    const { input_context: context, input_query: query } = JSON.parse(
      await Deno.readTextFile(`${folder}/in.jsonl`),
    );
    assertEquals(tokenizer.count(context) + tokenizer.count(query), 601);
  },
});
