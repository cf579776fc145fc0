import { builtinWords } from "../../lib/deps/words.ts";
import { compareCodePoints } from "../../ruler/python/strings.ts";
import { CompoundWords } from "../../ruler/words.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "../helpers/assert.ts";
import { Random } from "../helpers/random.ts";
import { sharedFolder } from "../helpers/shared.ts";

const SEED = 20260713;
const shared = sharedFolder();

function everyWord(words: CompoundWords): string[] {
  return Array.from({ length: words.length }, (_, i) => words.at(i));
}

/** The list as the original builds it. */
function naive(lists: { adjectives: readonly string[]; nouns: readonly string[] }): string[] {
  const all = lists.adjectives.flatMap((adjective) => lists.nouns.map((n) => `${adjective}-${n}`));
  return [...new Set(all)].sort(compareCodePoints);
}

Deno.test("CompoundWords() sorts words whose adjectives begin one another", () => {
  const lists = {
    adjectives: ["back-up", "back", "a", "back-", "b", "back-up", "back up", ""],
    nouns: ["up-x", "u", "x", "jalape\u00f1o", "-", "up", "x"],
  };
  assertEquals(everyWord(new CompoundWords(lists)), naive(lists));
});

Deno.test(`CompoundWords() equals the sorted list for random words, seed ${SEED}`, () => {
  const random = new Random(SEED);
  const draw = (): string =>
    Array.from({ length: 1 + random.below(4) }, () => "ab- \u00e9\u{1f600}".at(random.below(5)))
      .join("");
  for (let round = 0; round < 200; round++) {
    const lists = {
      adjectives: Array.from({ length: 1 + random.below(12) }, draw),
      nouns: Array.from({ length: 1 + random.below(12) }, draw),
    };
    assertEquals(everyWord(new CompoundWords(lists)), naive(lists));
  }
});

Deno.test("at() throws if there is no word at the index", () => {
  const words = new CompoundWords({ adjectives: ["a"], nouns: ["b", "c"] });
  assertEquals(words.length, 2);
  for (const index of [2, -1]) {
    assertThrows(
      () => words.at(index),
      RangeError,
      `Cannot find a word as the index must be below 2: current value is ${index}`,
    );
  }
});

Deno.test({
  name: "CompoundWords() has as many words as the original's list",
  ignore: shared === undefined,
  fn() {
    const read = (name: string): string[] =>
      Deno.readTextFileSync(`${shared}/ruler/data/${name}`).split("\n").map((line) =>
        line.trimEnd()
      );
    const [adjectives, nouns] = [read("adjectivelist.txt"), read("nounlist.txt")];
    const words = new CompoundWords({
      adjectives: adjectives.slice(0, -1),
      nouns: nouns.slice(0, -1),
    });
    assertEquals(words.length, 6_175_260);
  },
});

Deno.test("builtinWords() has enough plain words of both kinds", async () => {
  const { adjectives, nouns } = await builtinWords();
  for (const words of [adjectives, nouns]) {
    assertGreater(words.length, 900);
    assertEquals(words.filter((word) => !/^[a-z]+$/.test(word)), []);
  }
  assert(new CompoundWords({ adjectives, nouns }).length > 900_000);
});
