/**
 * Damaged model files and JSON lines, the same ones for the same seed.
 *
 * @module
 */
import { type ModelFiles, safetensorsBytes, type TensorHeader } from "./fuzz_model.ts";

/** Where chance comes from. */
export interface Random {
  /** A whole number of [0, limit). */
  below(limit: number): number;
}

/** A kind of input. */
export const KINDS = ["safetensors", "config", "tokenizer", "jsonl"] as const;

/** One of {@linkcode KINDS}. */
export type Kind = typeof KINDS[number];

/** A damaged input. */
export interface Mutation {
  readonly bytes: Uint8Array;
  /** What was done to it, for people. */
  readonly what: string;
  /** Whether a header, a length, a size or an offset was hit. */
  readonly isStructural: boolean;
}

/** Numbers at which arithmetic goes wrong, as they stand in JSON. */
export const NUMBERS: readonly string[] = [
  ..."0 1 -1 2 3 7 63 64 65 127 128 255 256 1.5 1e-320 0.1 -0 1e15 1e16 1e308 1e400 -1e400".split(
    " ",
  ),
  ..."65535 65536 2147483647 2147483648 4294967295 4294967296 -2147483648".split(" "),
  ..."9007199254740991 9007199254740993 9223372036854775807 18446744073709551615".split(" "),
];
/** Values of other types. */
const VALUES: readonly string[] = [
  "null",
  "true",
  "false",
  '""',
  '"x"',
  "[]",
  "[0]",
  "[null]",
  "{}",
  '{"a":{}}',
];

function pick<T>(random: Random, items: readonly T[]): T {
  return items[random.below(items.length)] as T;
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Changes some bytes, takes some out, puts some in, or cuts the end off. */
export function damageBytes(random: Random, bytes: Uint8Array): Uint8Array {
  const at = random.below(bytes.length);
  const count = 1 + random.below(8);
  const noise = Uint8Array.from({ length: count }, () => random.below(256));
  switch (random.below(4)) {
    case 0: {
      const changed = bytes.slice();
      changed.set(noise.subarray(0, bytes.length - at), at);
      return changed;
    }
    case 1:
      return Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + count)]);
    case 2:
      return Uint8Array.from([...bytes.subarray(0, at), ...noise, ...bytes.subarray(at)]);
    default:
      return bytes.slice(0, at);
  }
}

/** Puts another number in the place of one in a JSON text. */
export function damageNumber(random: Random, json: string): string {
  const places = [...json.matchAll(/(?<=[:[,] ?)-?\d+(\.\d+)?([eE][-+]?\d+)?(?=[,\]}])/g)];
  const { 0: found = "", index = 0 } = places[random.below(places.length)] ?? {};
  const near = pick(random, [-8, -2, -1, 1, 2, 8]);
  const value = random.below(3) === 0 ? String(Number(found) + near) : pick(random, NUMBERS);
  return json.slice(0, index) + value + json.slice(index + found.length);
}

/** Puts a value of another type in the place of a simple one. */
export function damageValue(random: Random, json: string): string {
  const places = [...json.matchAll(/(?<=: ?)("[^"]*"|-?\d[\d.e+-]*|true|false|null)(?=[,}])/g)];
  const { 0: found = "", index = 0 } = places[random.below(places.length)] ?? {};
  return json.slice(0, index) + pick(random, VALUES) + json.slice(index + found.length);
}

/** Takes a member out, gives it another name, or doubles it. */
function damageMember(random: Random, object: Readonly<Record<string, unknown>>): string {
  const entries = Object.entries(object);
  const at = random.below(entries.length);
  const [name, value] = entries[at] ?? ["", null];
  const way = random.below(3);
  if (way === 0) entries.splice(at, 1);
  if (way === 1) entries[at] = [pick(random, ["", "x", "__proto__", `${name}2`]), value];
  if (way === 2) entries.splice(random.below(entries.length), 0, [name, pick(random, entries)[1]]);
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`)}}`;
}

/** A text that nests deeper than parsers like. */
export function nested(random: Random): string {
  const depth = pick(random, [100, 1000, 20_000]);
  return pick(random, ["[", '{"a":']).repeat(depth);
}

/** Damages `model.safetensors`; three quarters of it the header. */
function damageSafetensors(random: Random, files: ModelFiles): Mutation {
  const { header, data } = files.weights;
  const json = JSON.stringify(header);
  const structural = (text: string, what: string, length?: bigint): Mutation => ({
    bytes: safetensorsBytes(text, data, length === undefined ? {} : { length }),
    what,
    isStructural: true,
  });
  switch (random.below(10)) {
    case 0:
    case 1: {
      const own = BigInt(Math.ceil(json.length / 8) * 8);
      const near = BigInt(random.below(40) - 20);
      const far = pick(random, [0n, 1n, 2n ** 31n, 2n ** 32n + 8n, 2n ** 53n, 2n ** 63n, -1n, -8n]);
      const length = pick(random, [own + near, far, BigInt(data.length), own * 2n]);
      return structural(json, `header length ${length} for ${own}`, length);
    }
    case 2:
    case 3:
    case 4:
      return structural(damageNumber(random, json), "a number in the header");
    case 5:
      return structural(damageTensor(random, header), "a tensor's entry");
    case 6:
      return structural(damageMember(random, header), "a member of the header");
    case 7: {
      const bytes = safetensorsBytes(json, data);
      const part = damageBytes(random, bytes.subarray(0, 8 + json.length));
      const changed = Uint8Array.from([...part, ...bytes.subarray(8 + json.length)]);
      return { bytes: changed, what: "bytes of the header", isStructural: true };
    }
    case 8: {
      const bytes = safetensorsBytes(json, data);
      const length = pick(random, [random.below(bytes.length), random.below(16), bytes.length - 1]);
      return { bytes: bytes.slice(0, length), what: `cut at ${length}`, isStructural: true };
    }
    default: {
      const changed = data.slice();
      const at = random.below(data.length - 64);
      // NaN, infinity or noise, in one place or all over.
      const value = pick(random, [0xff, 0x7f, 0x80, random.below(256)]);
      changed.fill(value, at, pick(random, [at + 2, at + 64, data.length]));
      return { bytes: safetensorsBytes(json, changed), what: "weights", isStructural: false };
    }
  }
}

/** Gives one tensor the place, the shape or the dtype of none or of another. */
function damageTensor(random: Random, header: Readonly<Record<string, TensorHeader>>): string {
  const names = Object.keys(header);
  const [name, other] = [pick(random, names), pick(random, names)];
  const [own, others] = [header[name], header[other]];
  if (own === undefined || others === undefined) return "{}";
  const [begin, end] = own.data_offsets;
  const changed: unknown = pick(random, [
    { ...own, data_offsets: others.data_offsets },
    { ...own, data_offsets: [end, begin] },
    { ...own, data_offsets: [begin, end, end] },
    { ...own, data_offsets: [begin + 1, end + 1] },
    { ...own, shape: others.shape },
    { ...own, shape: [...own.shape].reverse() },
    { ...own, shape: [...own.shape, 1] },
    { ...own, shape: [2 ** 32, 2 ** 32, 0] },
    { ...own, shape: [] },
    ...["F32", "F16", "I16", "U8", "F8_E4M3", "BF17", 3].map((dtype) => ({ ...own, dtype })),
    [],
    null,
  ]);
  return JSON.stringify({ ...header, [name]: changed });
}

/** Damages `config.json`; two thirds of it sizes. */
function damageConfig(random: Random, files: ModelFiles): Mutation {
  const json = JSON.stringify(files.config);
  const of = (text: string, what: string, isStructural = false): Mutation => ({
    bytes: encode(text),
    what,
    isStructural,
  });
  switch (random.below(9)) {
    case 0:
    case 1:
    case 2:
    case 3:
    case 4:
    case 5:
      return of(damageNumber(random, json), "a number", true);
    case 6:
      return of(damageValue(random, json), "a value");
    case 7:
      return of(pick(random, [damageMember(random, files.config), nested(random)]), "a member");
    default:
      return { bytes: damageBytes(random, encode(json)), what: "bytes", isStructural: false };
  }
}

/** Damages `tokenizer.json`; a third of it ids, which are indices. */
function damageTokenizer(random: Random, files: ModelFiles): Mutation {
  const { tokenizer } = files;
  const { vocab, merges } = tokenizer.model;
  const of = (value: unknown, what: string, isStructural = false): Mutation => ({
    bytes: encode(typeof value === "string" ? value : JSON.stringify(value)),
    what,
    isStructural,
  });
  const withModel = (model: Record<string, unknown>) => ({
    ...tokenizer,
    model: { ...tokenizer.model, ...model },
  });
  const tokens = Object.keys(vocab);
  const token = pick(random, tokens);
  const { model: _, ...rest } = tokenizer;
  switch (random.below(9)) {
    case 0:
    case 1:
      return of(damageNumber(random, JSON.stringify(tokenizer)), "an id", true);
    case 2: {
      const id = pick(random, [0, 319, 320, 5000, 2 ** 31 - 1]);
      return of(withModel({ vocab: { ...vocab, [token]: id } }), `id ${id}`, true);
    }
    case 3: {
      const { [token]: _gone, ...others } = vocab;
      return of(withModel({ vocab: others }), "a token without an id");
    }
    case 4: {
      const changed: unknown[] = [...merges];
      changed[random.below(changed.length)] = pick(random, [
        [token, pick(random, tokens)],
        [token, "none"],
        [token],
        `${token} ${token}`,
        "",
        7,
        ["", ""],
      ]);
      return of(withModel({ merges: changed }), "a merge");
    }
    case 5:
      return of(damageValue(random, JSON.stringify(tokenizer)), "a value");
    case 6: {
      const text = damageMember(random, rest).slice(0, -1);
      return of(`${text},"model":${JSON.stringify(tokenizer.model)}}`, "a member");
    }
    case 7: {
      const regex = pick(random, ["(", "[", "(?<=a*)b", "(a+)+$", "\\", "", ".", "(?!)", "\\p{X}"]);
      const text = JSON.stringify(tokenizer);
      return of(text.replace(/"Regex":"(\\.|[^"\\])*"/, `"Regex":${JSON.stringify(regex)}`), regex);
    }
    default: {
      const bytes = encode(JSON.stringify(tokenizer));
      return { bytes: damageBytes(random, bytes), what: "bytes", isStructural: false };
    }
  }
}

/** Three lines as `infer` reads and writes them. */
const LINES = [0, 1, 2].map((index) =>
  JSON.stringify({
    index,
    pred: ` blue ${index}.`,
    input_context: "The sky is blue. \u00e9\u{1f600}\n",
    input_query: "What is the sky?",
    outputs: ["blue", "sky"],
    others: { id: index, scores: [1.5, 2e-7] },
    truncation: -1,
    length: 12,
  })
);

/** Damages a file of JSON lines; some of it numbers and ends of lines. */
export function damageLines(random: Random, lines: readonly string[] = LINES): Mutation {
  const text = `${lines.join("\n")}\n`;
  const at = random.below(lines.length);
  const withLine = (line: string): Uint8Array =>
    encode(`${lines.map((own, i) => i === at ? line : own).join("\n")}\n`);
  const line = lines[at] ?? "";
  switch (random.below(7)) {
    case 0:
      return { bytes: withLine(damageNumber(random, line)), what: "a number", isStructural: true };
    case 1:
      return {
        bytes: encode(text.slice(0, random.below(text.length))),
        what: "cut",
        isStructural: true,
      };
    case 2:
      return { bytes: withLine(damageValue(random, line)), what: "a value", isStructural: false };
    case 3:
      return {
        bytes: withLine(damageMember(random, JSON.parse(line))),
        what: "a member",
        isStructural: false,
      };
    case 4:
      return { bytes: withLine(nested(random)), what: "deep nesting", isStructural: false };
    case 5: {
      const odd = pick(random, ["", "\ufeff", "\0", "\r", "NaN", "[1]", '"\\ud800"', "{}", "{}}"]);
      return { bytes: withLine(odd), what: JSON.stringify(odd), isStructural: false };
    }
    default:
      return { bytes: damageBytes(random, encode(text)), what: "bytes", isStructural: false };
  }
}

/** Damages an input of a kind. */
export function mutate(kind: Kind, random: Random, files: ModelFiles): Mutation {
  switch (kind) {
    case "safetensors":
      return damageSafetensors(random, files);
    case "config":
      return damageConfig(random, files);
    case "tokenizer":
      return damageTokenizer(random, files);
    case "jsonl":
      return damageLines(random);
  }
}
