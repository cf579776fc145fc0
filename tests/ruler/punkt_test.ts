import { createHash } from "node:crypto";
import { loadPunkt, type Punkt, splitSentences } from "../../ruler/punkt.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";
import { sharedFolder } from "../helpers/shared.ts";

interface PunktVectors {
  readonly cases: readonly { readonly text: string; readonly sents: readonly string[] }[];
  readonly haystack: {
    readonly num_words_total: number;
    readonly prefixes: readonly {
      readonly num_words: number;
      readonly text_sha256: string;
      readonly num_sents: number;
      readonly sents_joined_by_newline_sha256: string;
    }[];
  };
}

const shared = sharedFolder();
const ignore = shared === undefined;

const NO_FILES = { abbrevTypes: "", collocations: "", sentStarters: "", orthoContext: "" };

function english(): Punkt {
  const folder = `${shared}/ruler/data/punkt_tab/english`;
  return loadPunkt({
    abbrevTypes: Deno.readTextFileSync(`${folder}/abbrev_types.txt`),
    collocations: Deno.readTextFileSync(`${folder}/collocations.tab`),
    sentStarters: Deno.readTextFileSync(`${folder}/sent_starters.txt`),
    orthoContext: Deno.readTextFileSync(`${folder}/ortho_context.tab`),
  });
}

function vectors(): PunktVectors {
  return JSON.parse(Deno.readTextFileSync(`${shared}/ruler/vectors/punkt_sentences.json`));
}

function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

Deno.test({
  name: "loadPunkt() reads every published parameter",
  ignore,
  fn() {
    const punkt = english();
    assertEquals(punkt.abbreviations.size, 156);
    assertEquals(punkt.collocations.size, 37);
    assertEquals(punkt.sentenceStarters.size, 39);
    assertEquals(punkt.orthography.size, 20_366);
    assertEquals(punkt.abbreviations.has(". . "), true);
  },
});

Deno.test("loadPunkt() throws if a line has not the form of its file", () => {
  assertThrows(
    () => loadPunkt({ ...NO_FILES, orthoContext: "him\t96\nshe" }),
    SyntaxError,
    "Cannot load Punkt's ortho_context.tab as each line must be a word, a tab and a number: " +
      'found "she"',
  );
  assertThrows(
    () => loadPunkt({ ...NO_FILES, collocations: "b smith" }),
    SyntaxError,
    "Cannot load Punkt's collocations.tab as each line must be two words with a tab between them: " +
      'found "b smith"',
  );
});

Deno.test("splitSentences() splits without any parameters at every mark", () => {
  const punkt = loadPunkt(NO_FILES);
  assertEquals(splitSentences(punkt, ""), []);
  assertEquals(splitSentences(punkt, " \n"), []);
  assertEquals(splitSentences(punkt, "One. Two! (Three?) Four "), [
    "One.",
    "Two!",
    "(Three?)",
    "Four",
  ]);
});

Deno.test({
  name: "splitSentences() gives the original's sentences for every vector",
  ignore,
  fn() {
    const punkt = english();
    for (const { text, sents } of vectors().cases) {
      assertEquals(splitSentences(punkt, text), [...sents], `text is ${JSON.stringify(text)}`);
    }
  },
});

Deno.test({
  name: "splitSentences() gives the original's sentences of the essays",
  ignore,
  fn() {
    const punkt = english();
    const path = `${shared}/ruler/data/PaulGrahamEssays.json`;
    const { text } = JSON.parse(Deno.readTextFileSync(path)) as { text: string };
    const words = text.replace(/\s+/g, " ").split(" ");
    const { haystack } = vectors();
    assertEquals(words.length, haystack.num_words_total);
    for (const prefix of haystack.prefixes) {
      const start = words.slice(0, prefix.num_words).join(" ").trim();
      assertEquals(sha256(start), prefix.text_sha256);
      const sentences = splitSentences(punkt, start);
      assertEquals(sentences.length, prefix.num_sents);
      assertEquals(sha256(sentences.join("\n")), prefix.sents_joined_by_newline_sha256);
    }
  },
});
