import { FreshShuffle, PythonRandom, randomUuid } from "../../../ruler/python/random.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";
import { sharedFolder } from "../../helpers/shared.ts";

/** What CPython 3.11 drew; each list in turn from one generator. */
interface SeedVectors {
  readonly seed: number;
  readonly random: readonly number[];
  readonly getrandbits32: readonly number[];
  readonly getrandbits: Readonly<Record<string, readonly string[]>>;
  readonly randint_1000000_9999999: readonly number[];
  readonly randint_misc: readonly (readonly [number, number, number])[];
  readonly choice_len: readonly (readonly [number, readonly number[]])[];
  readonly choices_upper_k5: readonly string[];
  readonly choices_lower_k6: readonly string[];
  readonly sample: readonly {
    readonly n: number;
    readonly k: number;
    readonly range: readonly number[];
    readonly list: readonly number[];
  }[];
  readonly shuffle: readonly { readonly n: number; readonly result: readonly number[] }[];
  readonly uuid4: readonly string[];
  readonly interleaved: readonly unknown[];
}

const shared = sharedFolder();
const UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const LOWER = UPPER.toLowerCase();

function indices(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

/** Registers a test that compares with every seed of the vectors. */
function vectorTest(name: string, check: (random: PythonRandom, vectors: SeedVectors) => void) {
  Deno.test({
    name,
    ignore: shared === undefined,
    fn() {
      const text = Deno.readTextFileSync(`${shared}/ruler/vectors/python_random.json`);
      const { seeds } = JSON.parse(text) as { seeds: readonly SeedVectors[] };
      assertEquals(seeds.length, 2);
      for (const vectors of seeds) check(new PythonRandom(vectors.seed), vectors);
    },
  });
}

vectorTest("random() gives Python's numbers", (random, { random: expected }) => {
  for (const value of expected) assertEquals(random.random(), value);
});

Deno.test({
  name: "random() gives Python's numbers for the seed of the second chunk",
  ignore: shared === undefined,
  fn() {
    const text = Deno.readTextFileSync(`${shared}/ruler/vectors/python_random.json`);
    const { seed_43: { random: expected } } = JSON.parse(text) as {
      seed_43: { random: readonly number[] };
    };
    const random = new PythonRandom(43);
    assertEquals(expected.map(() => random.random()), [...expected]);
  },
});

vectorTest("getrandbits() gives Python's numbers", (random, vectors) => {
  for (const value of vectors.getrandbits32) assertEquals(random.getrandbits(32), BigInt(value));
  for (const [bits, values] of Object.entries(vectors.getrandbits)) {
    const fresh = new PythonRandom(vectors.seed);
    for (const value of values) assertEquals(fresh.getrandbits(Number(bits)), BigInt(value));
  }
});

vectorTest("randint() gives Python's numbers", (random, vectors) => {
  for (const value of vectors.randint_1000000_9999999) {
    assertEquals(random.randint(1000000, 9999999), value);
  }
  const fresh = new PythonRandom(vectors.seed);
  for (const [low, high, value] of vectors.randint_misc) {
    assertEquals(fresh.randint(low, high), value, `randint(${low}, ${high})`);
  }
});

vectorTest("choiceIndex() gives Python's choices", (random, { choice_len: choices }) => {
  for (const [length, expected] of choices) {
    assertEquals(expected.map(() => random.choiceIndex(length)), [...expected]);
  }
});

vectorTest("choices() gives Python's choices", (random, vectors) => {
  for (const word of vectors.choices_upper_k5) {
    assertEquals(random.choices(UPPER, 5).join(""), word);
  }
  const fresh = new PythonRandom(vectors.seed);
  for (const word of vectors.choices_lower_k6) assertEquals(fresh.choices(LOWER, 6).join(""), word);
});

vectorTest("sample() gives Python's samples on both sides of its limit", (random, { sample }) => {
  for (const { n, k, range, list } of sample) {
    assertEquals(random.sampleIndices(n, k), [...range], `sample(range(${n}), ${k})`);
    assertEquals(random.sample(indices(n), k), [...list], `sample(list(range(${n})), ${k})`);
  }
});

vectorTest("shuffle() gives Python's orders", (random, { shuffle }) => {
  for (const { n, result } of shuffle) {
    const items = indices(n);
    random.shuffle(items);
    assertEquals(items, [...result]);
  }
});

Deno.test("FreshShuffle() gives the same order for the same length", () => {
  const fresh = new FreshShuffle(42);
  for (const length of [0, 1, 10, 300, 10]) {
    const expected = indices(length);
    new PythonRandom(42).shuffle(expected);
    const items = indices(length);
    assertEquals(fresh.shuffled(items), expected);
    assertEquals(items, indices(length));
  }
});

vectorTest("randomUuid() gives Python's identifiers", (random, { uuid4 }) => {
  for (const uuid of uuid4) assertEquals(randomUuid(random), uuid);
});

vectorTest("PythonRandom() gives Python's numbers when calls alternate", (random, vectors) => {
  const drawn: unknown[] = [];
  while (drawn.length < vectors.interleaved.length) {
    drawn.push(random.random());
    drawn.push(random.randint(1000000, 9999999));
    drawn.push(random.choice("abcdefg"));
    drawn.push(randomUuid(random));
    drawn.push(random.sampleIndices(40, 4));
    drawn.push(random.choices(UPPER, 3).join(""));
    const items = indices(12);
    random.shuffle(items);
    drawn.push(items);
  }
  assertEquals(drawn, [...vectors.interleaved]);
});

Deno.test("PythonRandom() ignores a seed's sign and takes seeds above 32 bits", () => {
  assertEquals(new PythonRandom(42).random(), 0.6394267984578837);
  assertEquals(new PythonRandom(-42).random(), 0.6394267984578837);
  assertEquals(new PythonRandom(0).random(), 0.8444218515250481);
  assertEquals(new PythonRandom(2 ** 40 + 7).random(), 0.6137037779936511);
});

Deno.test("choiceIndex() throws if there is nothing to choose from", () => {
  assertThrows(
    () => new PythonRandom(42).choiceIndex(0),
    RangeError,
    "Cannot choose as there must be something to choose from: 0",
  );
});

Deno.test("sampleIndices() throws if count is out of its range, and draws nothing", () => {
  const random = new PythonRandom(42);
  for (const count of [-1, 6]) {
    assertThrows(
      () => random.sampleIndices(5, count),
      RangeError,
      `Cannot sample as 'count' must be 0 to 5: current value is ${count}`,
    );
  }
  assertEquals(random.random(), 0.6394267984578837);
});
