import { MersenneTwister } from "../../../ruler/python/mersenne.ts";
import { DEPTHS, inversePower, LegacyRandom, linspace, zeta } from "../../../ruler/python/numpy.ts";
import { assert, assertEquals } from "../../helpers/assert.ts";
import { sharedFolder } from "../../helpers/shared.ts";

interface NumpyVectors {
  readonly seeds: readonly {
    readonly seed: number;
    readonly randint_10000_99999: readonly number[];
    readonly raw_uint32: readonly number[];
    readonly random_sample: readonly number[];
  }[];
  readonly depths: { readonly linspace: readonly number[]; readonly round_int: readonly number[] };
  readonly fwe: {
    readonly "zeta_2.0": { readonly hex: string };
    readonly zeta_other: Readonly<Record<string, string>>;
    readonly counts: readonly {
      readonly num_words: number;
      readonly vocab_size: number;
      readonly counts: readonly number[];
    }[];
  };
}

const shared = sharedFolder();
const ignore = shared === undefined;

function vectors(): NumpyVectors {
  return JSON.parse(Deno.readTextFileSync(`${shared}/ruler/vectors/numpy.json`));
}

/** A double as Python's `float.hex()` has it, of the range [1, 2^10). */
function fromHex(hex: string): number {
  const [, digits, exponent] = /^0x1\.([0-9a-f]{13})p\+(\d)$/.exec(hex) ?? [];
  assert(digits !== undefined && exponent !== undefined, `${hex} must be a double`);
  return (1 + Number(`0x${digits}`) / 2 ** 52) * 2 ** Number(exponent);
}

Deno.test({
  name: "randint() gives NumPy's legacy numbers",
  ignore,
  fn() {
    for (const { seed, randint_10000_99999: expected } of vectors().seeds) {
      const random = new LegacyRandom(seed);
      assertEquals(expected.map(() => random.randint({ low: 10000, high: 99999 })), [...expected]);
    }
  },
});

Deno.test({
  name: "MersenneTwister.fromWord() gives NumPy's words and fractions",
  ignore,
  fn() {
    for (const { seed, raw_uint32: words, random_sample: fractions } of vectors().seeds) {
      const random = MersenneTwister.fromWord(seed);
      assertEquals(words.map(() => random.next()), [...words]);
      const fresh = MersenneTwister.fromWord(seed);
      assertEquals(fractions.map(() => fresh.nextFraction()), [...fractions]);
    }
  },
});

Deno.test("randint() draws nothing if there is one number", () => {
  const random = new LegacyRandom(42);
  assertEquals(random.randint({ low: 7, high: 8 }), 7);
  assertEquals(random.randint({ low: 10000, high: 99999 }), 25795);
});

Deno.test({
  name: "DEPTHS are NumPy's rounded steps",
  ignore,
  fn() {
    assertEquals(linspace(100, 40), [...vectors().depths.linspace]);
    assertEquals([...DEPTHS], [...vectors().depths.round_int]);
  },
});

Deno.test({
  name: "zeta() equals SciPy's to the last digit",
  ignore,
  fn() {
    const { fwe } = vectors();
    assertEquals(zeta(2), fromHex(fwe["zeta_2.0"].hex));
    for (const [x, hex] of Object.entries(fwe.zeta_other)) {
      assertEquals(zeta(Number(x)), fromHex(hex), `zeta(${x})`);
    }
  },
});

Deno.test({
  name: "inversePower() and zeta() give NumPy's counts of words",
  ignore,
  fn() {
    for (const { num_words: words, vocab_size: size, counts } of vectors().fwe.counts) {
      const own = Array.from(
        { length: size },
        (_, i) => Math.trunc(words * inversePower(i + 1, 2) / zeta(2)),
      );
      assertEquals(own, [...counts], `${words} words`);
    }
  },
});

Deno.test("inversePower() rounds once", () => {
  assertEquals(inversePower(1, 2), 1);
  assertEquals(inversePower(11, 2), 1 / 121);
  assertEquals(inversePower(3, 3), 1 / 27);
  assertEquals(inversePower(4, 1.5), 0.125);
});
