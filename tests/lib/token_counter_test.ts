import { tokenCounter } from "../../lib/model/token_counter.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/model/tokenizer.ts";
import { assert, assertEquals, assertLess } from "../helpers/assert.ts";
import { Random } from "../helpers/random.ts";
import { sharedFolder } from "../helpers/shared.ts";

const SEED = 20240611;
const shared = sharedFolder();
const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;
const FOLDERS = [
  { name: "starx-tiny", folder: TINY, ignore: false },
  { name: "llama3", folder: `${shared}/tokenizers/llama3`, ignore: shared === undefined },
];

/** What texts are made of: all that the pattern tells apart, and what libraries disagree on. */
const SNIPPETS = [
  ..."   \n\n\t\r\x0b\x1c\x85\xa0\u2028\u3000\ufeff\u200b",
  ..."....,;:!?'\"()[]{}<>|-_*#@&/\\^~`$%+=\x00\x7f",
  ..."aZ09sStT\u017f\u212a\u00e9\u00df\u4e2d\ud55c\u0665\u00bd\u2167\u{1f600}\u0301",
  "'s",
  "'Ll",
  "'re",
  ". ",
  ".\n",
  "\r\n",
  " \n \n",
  "    ",
  "...",
  "12345678",
  "8d3f-9abc-00ff",
  "<|",
  "|>",
  "<|eot_id|>",
  "<|begin_of_text|>",
  "<|start_header_id|>user<|end_header_id|>\n\n",
  "<|eot_",
  "The",
  " grass is green.",
  " One of the special magic numbers for jalape\u00f1o-cr\u00e8me is: 4171982.",
  " 17. word 18. word",
  "Document 3:\n",
];

function randomText(random: Random, snippets: number): string {
  let text = "";
  for (let i = 0; i < snippets; i++) text += SNIPPETS[random.below(SNIPPETS.length)] ?? "";
  return text;
}

for (const { name, folder, ignore } of FOLDERS) {
  Deno.test({
    name: `tokenCounter() counts random texts like the tokenizer of ${name}`,
    ignore,
    async fn() {
      using tokenizer = await loadTokenizer(folder);
      const count = tokenCounter(tokenizer);
      const random = new Random(SEED);
      for (let i = 0; i < 2000; i++) {
        const text = randomText(random, 1 + random.below(60));
        assertEquals(
          count(text),
          tokenizer.count(text),
          `text ${i} of seed ${SEED} is ${JSON.stringify(text)}`,
        );
      }
    },
  });

  Deno.test({
    name: `tokenCounter() gives a repeated text of ${name} to the library once`,
    ignore,
    async fn() {
      using tokenizer = await loadTokenizer(folder);
      let characters = 0;
      const counted: Pick<Tokenizer, "count" | "settings"> = {
        settings: tokenizer.settings,
        count(text) {
          characters += text.length;
          return tokenizer.count(text);
        },
      };
      const count = tokenCounter(counted);
      const line = "The grass is green. The sky is blue. Here we go. There and back again.\n";
      const expected = tokenizer.count(line.repeat(1000));
      assertEquals(count(line.repeat(1000)), expected);
      assert(characters > 0);
      assertLess(characters, 2 * line.length);
    },
  });
}

Deno.test({
  name: "tokenCounter() counts each vector of llama3",
  ignore: shared === undefined,
  async fn() {
    const folder = `${shared}/tokenizers/llama3`;
    using tokenizer = await loadTokenizer(folder);
    const count = tokenCounter(tokenizer);
    const vectors = JSON.parse(await Deno.readTextFile(`${folder}/vectors.json`)) as {
      cases: { text: string; ids: number[] }[];
    };
    for (const { text, ids } of vectors.cases) {
      assertEquals(count(text), ids.length, `text is ${JSON.stringify(text)}`);
    }
  },
});

Deno.test("tokenCounter() counts whole texts if it does not know where to cut", async () => {
  using tokenizer = await loadTokenizer(TINY);
  const { settings } = tokenizer;
  const text = "The grass is green. The sky is blue.\nHere we go. There and back again.";
  const unknown: Record<string, unknown>[] = [
    { ...settings, normalizer: { type: "NFKC" } },
    { ...settings, truncation: { max_length: 5 } },
    { ...settings, padding: { strategy: { Fixed: 5 } } },
    { ...settings, pre_tokenizer: { type: "ByteLevel", add_prefix_space: true, use_regex: true } },
    { ...settings, model: { type: "BPE", dropout: 0.1 } },
    { ...settings, added_tokens: [{ id: 1, content: "two words" }] },
    { ...settings, added_tokens: [{ id: 1, content: "<x>", lstrip: true }] },
  ];
  for (const changed of unknown) {
    const texts: string[] = [];
    const count = tokenCounter({
      settings: changed,
      count(piece) {
        texts.push(piece);
        return piece.length;
      },
    });
    assertEquals(count(text), text.length);
    assertEquals(texts, [text]);
  }
});
