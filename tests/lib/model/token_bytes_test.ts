/**
 * The bytes of tokens that are parts of characters.
 *
 * @module
 */
import { TokenBytes } from "../../../lib/model/token_bytes.ts";
import { loadTokenizer } from "../../../lib/model/tokenizer.ts";
import { readTokenizerFile } from "../../../lib/model/tokenizer_file.ts";
import { chatLogprobs } from "../../../commands/serve/token_texts.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { MODEL } from "../../helpers/prompts.ts";

const TEXT = "\u0001 d\u00e9j\u00e0 \u65e5\u672c \u{1f642}\u00ad\u007f\n";

Deno.test("bytesOf() gives bytes that make the text again, token by token", async () => {
  const bytes = new TokenBytes(await readTokenizerFile(MODEL));
  using tokenizer = await loadTokenizer(MODEL);
  const ids = [...tokenizer.encode(TEXT)];
  const all = ids.flatMap((id) => bytes.bytesOf(id) ?? []);
  assertEquals(new TextDecoder().decode(Uint8Array.from(all)), TEXT);
  const text = tokenizer.tokenToId("<|eot_id|>") ?? -1;
  assertEquals([bytes.bytesOf(text), bytes.bytesOf(-1)], [undefined, undefined]);
});

Deno.test("bytesOf() knows tokens of bytes beside those of texts", () => {
  const ids = new Map([["<0xE6>", 0], ["\u2581the", 1], ["<0x0A>", 2]]);
  const decoder = { type: "Sequence", decoders: [{ type: "ByteFallback" }, { type: "Fuse" }] };
  const bytes = new TokenBytes({ ids, added: new Map([["<0x0A>", 2]]), settings: { decoder } });
  assertEquals([0, 1, 2].map((id) => bytes.bytesOf(id)), [[0xe6], undefined, undefined]);
});

Deno.test("chatLogprobs() gives the bytes of parts of characters, the most likely ones' too", async () => {
  const bytes = new TokenBytes(await readTokenizerFile(MODEL));
  using tokenizer = await loadTokenizer(MODEL);
  const ids = [...tokenizer.encode("a\u65e5\u{1f642}")];
  assert(ids.length > 3, "characters of several tokens");
  const other = tokenizer.encode("\u{1f642}")[0] ?? 0;
  const scores = ids.map((id) => ({ id, logprob: -1, top: [[id, -1], [other, -2]] as const }));
  const { content } = await chatLogprobs(scores, {
    tokenizer,
    bytesOf: (id) => Promise.resolve(bytes.bytesOf(id)),
  });
  const entries = content as { bytes: number[]; top_logprobs: { bytes: number[] }[] }[];
  const textOf = (parts: number[][]) => new TextDecoder().decode(Uint8Array.from(parts.flat()));
  assertEquals(textOf(entries.map(({ bytes }) => bytes)), "a\u65e5\u{1f642}");
  for (const { bytes: own, top_logprobs: [first, second] } of entries) {
    assertEquals([first?.bytes, second?.bytes], [own, bytes.bytesOf(other)]);
  }
});
