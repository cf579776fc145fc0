/**
 * Kinds of inputs, and how each is damaged.
 *
 * @module
 */
import type { Dice } from "./dice.ts";
import { damageArgs } from "./flag_words.ts";
import { EXPERIMENT, type Files, INFER, linesOf, type Material, RULER } from "./material.ts";
import {
  damageBytes,
  damageLines,
  damageNumber,
  damageValue,
  mutate,
  nested,
} from "./mutations.ts";
import { TINY } from "./programs.ts";
import { wholeLines } from "./records.ts";
import type { Fault } from "./tally.ts";

/** An input and what to do with it. */
export interface Input {
  readonly kind: string;
  readonly what: string;
  readonly files: Files;
  readonly args: readonly string[];
  /** Looks at what the program left. */
  readonly check?: (folder: string, code: number) => Promise<Fault[]>;
}

/** Where a kind gets chance and what it damages. */
interface Draw {
  readonly dice: Dice;
  readonly material: Material;
}

type Kind = (draw: Draw) => Omit<Input, "kind">;

const TASKS = `mine:
  task: niah
  args: {type_haystack: repeat, type_needle_k: numbers, num_needle_k: 2, num_needle_q: 1}
  tokens_to_generate: 16
tracking:
  task: variable_tracking
  args: {num_chains: 1, num_hops: 2}
words:
  task: freq_words_extraction
  args: {alpha: 2.0}
tokens_to_generate:
  tracking: 8
`;

function decode(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

/** A JSON text that is another one, or none any more. */
function damageJson(dice: Dice, text: string): string | Uint8Array {
  switch (dice.below(6)) {
    case 0:
      return damageNumber(dice, text);
    case 1:
    case 2:
      return damageValue(dice, text);
    case 3:
      return dice.chance(0.3) ? nested(dice) : text.slice(0, dice.below(text.length));
    case 4: {
      // A key with another name, somewhere.
      const keys = [...text.matchAll(/"(\w+)":/g)];
      const key = dice.pick(keys);
      if (key === undefined) return "";
      const name = dice.pick(["", "x", "__proto__", "constructor", dice.pick(keys)[1] ?? ""]);
      return text.slice(0, key.index) + `"${name}":` + text.slice(key.index + key[0].length);
    }
    default:
      return damageBytes(dice, new TextEncoder().encode(text));
  }
}

/** The model with another file in place of one of its own. */
function withModel(material: Material, files: Record<string, string | Uint8Array>): Files {
  const input: [string, string][] = [["in.jsonl", linesOf(material.samples.slice(0, 1))]];
  return new Map([...material.model, ...input, ...Object.entries(files)]);
}

function damagedModel(kind: "safetensors" | "config" | "tokenizer", path: string): Kind {
  return ({ dice, material }) => {
    const { bytes, what } = mutate(kind, dice, material.files);
    return { what, files: withModel(material, { [path]: bytes }), args: INFER };
  };
}

function templates({ dice, material }: Draw): Omit<Input, "kind"> {
  const path = dice.pick(["model/tokenizer_config.json", "model/generation_config.json"]);
  const text = String(material.model.get(path) ?? "");
  const odd = dice.pick([
    "{{",
    "{% for %}",
    "{{ x.y.z }}",
    "{% for i in range(10**9) %}{% endfor %}",
  ]);
  const isTemplate = path.includes("tokenizer") && dice.chance(0.5);
  const damaged = isTemplate
    ? JSON.stringify({
      chat_template: dice.pick([odd, damagedText(dice, "[{{ messages[0].content }}]")]),
    })
    : damageJson(dice, text);
  return {
    what: isTemplate ? "a chat template" : path,
    files: withModel(material, { [path]: damaged }),
    args: [...INFER, "-pc", "chat"],
  };
}

function damagedText(dice: Dice, text: string): string {
  return decode(damageBytes(dice, new TextEncoder().encode(text)));
}

function index({ dice, material }: Draw): Omit<Input, "kind"> {
  const shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
  const names = Object.keys(material.files.weights.header);
  const map = Object.fromEntries(names.map((name) => [name, shards[0]]));
  const text = JSON.stringify({ metadata: { total_size: 1 }, weight_map: map });
  const whole = withModel(material, {
    "model/model.safetensors.index.json": damageJson(dice, text),
    [`model/${shards[0]}`]: material.model.get("model/model.safetensors") ?? "",
  });
  const files = new Map(whole);
  files.delete("model/model.safetensors");
  return { what: "an index of shards", files, args: INFER };
}

function data({ dice, material }: Draw): Omit<Input, "kind"> {
  const { bytes, what } = damageLines(dice, material.samples);
  return { what, files: withModel(material, { "in.jsonl": bytes }), args: INFER };
}

/** What `infer` continues must have each sample once, and what it adds must be right. */
function checkRecords(
  options: { path: string; before: string; expected: string },
): Required<Input>["check"] {
  const { path, before, expected } = options;
  return async (folder, code) => {
    const found = wholeLines(await Deno.readTextFile(`${folder}/${path}`).catch(() => ""));
    const right = wholeLines(expected);
    const kept = wholeLines(before).filter((line) => right.includes(line));
    const faults: Fault[] = [];
    const lost = kept.filter((line) => !found.includes(line));
    if (lost.length > 0) faults.push({ kind: "lost", text: `${lost.length} records: ${path}` });
    if (code !== 0) return faults;
    const keys = found.map(keyOf);
    if (new Set(keys).size < keys.length) faults.push({ kind: "doubled", text: keys.join(" ") });
    if (found.length < right.length) {
      faults.push({ kind: "lost", text: `${found.length} of ${right.length} records: ${path}` });
    }
    const added = found.filter((line) => !wholeLines(before).includes(line));
    // A last line without its newline is whole as well.
    const odd = added.filter((line) => !right.includes(line) && !before.endsWith(line));
    if (odd.length > 0) faults.push({ kind: "different", text: odd.join("\n") });
    return faults;
  };
}

function keyOf(line: string): string {
  const { index, input_context, input_query } = JSON.parse(line.replace(/^\ufeff/, ""));
  return JSON.stringify([index, input_context, input_query]);
}

function results({ dice, material }: Draw): Omit<Input, "kind"> {
  const expected = String(material.results.get("out.jsonl"));
  const lines = wholeLines(expected).slice(0, 1 + dice.below(4));
  const { bytes, what } = damageLines(dice, lines);
  const files = new Map([...withModel(material, {}), ...material.results]);
  files.set("in.jsonl", linesOf(material.samples)).set("out.jsonl", bytes);
  const check = checkRecords({ path: "out.jsonl", before: decode(bytes), expected });
  return { what, files, args: INFER, check };
}

function run({ dice, material }: Draw): Omit<Input, "kind"> {
  const expected = String(material.results.get("out.jsonl"));
  const before = linesOf(wholeLines(expected).slice(0, 1 + dice.below(4)));
  const files = new Map([...withModel(material, {}), ...material.results]);
  files.set("in.jsonl", linesOf(material.samples)).set("out.jsonl", before);
  files.set("run.json", damageJson(dice, String(material.results.get("run.json"))));
  const check = checkRecords({ path: "out.jsonl", before, expected });
  return { what: "run.json", files, args: INFER, check };
}

function experiment({ dice, material }: Draw): Omit<Input, "kind"> {
  const files = new Map([...withModel(material, {}), ...material.experiment]);
  const path = dice.pick([...material.experiment.keys()]);
  const text = String(material.experiment.get(path));
  const damaged = path.endsWith(".jsonl")
    ? damageLines(dice, wholeLines(text)).bytes
    : path.endsWith(".json")
    ? damageJson(dice, text)
    : damageBytes(dice, new TextEncoder().encode(text));
  files.set(path, damaged);
  const args = dice.pick([
    RULER,
    ["evaluate", "--data_dir", `${EXPERIMENT}/1500`],
    ["gather", "-e", "x_dense", ...dice.pick([[], ["--format", "json"], ["--format", "original"]])],
    ["report", "x_dense"],
  ]);
  const records = `${EXPERIMENT}/1500/fwe.jsonl`;
  if (args !== RULER || path !== records) return { what: path, files, args };
  const before = typeof damaged === "string" ? damaged : decode(damaged);
  const check = checkRecords({ path, before, expected: text });
  return { what: path, files, args, check };
}

function pregenerated({ dice, material }: Draw): Omit<Input, "kind"> {
  const path = `${EXPERIMENT}/1500/data/fwe/validation.jsonl`;
  const lines = wholeLines(String(material.experiment.get(path)));
  const { bytes, what } = damageLines(dice, lines);
  const files = withModel(material, { "data/1500/fwe/validation.jsonl": bytes });
  return { what, files, args: [...RULER, "-d", "./data"] };
}

function tasks({ dice, material }: Draw): Omit<Input, "kind"> {
  const word = /[\w.]+/g;
  const words = [...TASKS.matchAll(word)];
  const { 0: found = "", index = 0 } = dice.pick(words) ?? {};
  const odd = [
    "-1",
    "0",
    "1e9",
    "99999999999",
    "nan",
    ".inf",
    "~",
    "[]",
    "{}",
    "&a *a",
    "!!x y",
    "'",
  ];
  const other = dice.chance(0.7) ? dice.pick(odd) : dice.pick(words)?.[0] ?? "";
  const text = dice.chance(0.6)
    ? TASKS.slice(0, index) + other + TASKS.slice(index + found.length)
    : damagedText(dice, TASKS);
  const task = dice.pick(["mine", "tracking", "words"]);
  return {
    what: `'${found}' in a file of tasks`,
    files: withModel(material, { "tasks.yaml": text }),
    args: [
      ...["prepare", "--save_dir", "made", "--task", task, "--tasks_file", "tasks.yaml"],
      ...["--tokenizer_path", TINY, "--max_seq_length", "1500", "--num_samples", "1"],
    ],
  };
}

function flags({ dice, material }: Draw): Omit<Input, "kind"> {
  const files = new Map([...withModel(material, {}), ...material.experiment]);
  return { what: "flags", files, args: damageArgs(dice) };
}

/** The kinds, in turn: the order decides what a number stands for. */
const KINDS: readonly (readonly [string, Kind])[] = [
  ["config", damagedModel("config", "model/config.json")],
  ["safetensors", damagedModel("safetensors", "model/model.safetensors")],
  ["tokenizer", damagedModel("tokenizer", "model/tokenizer.json")],
  ["flags", flags],
  ["data", data],
  ["results", results],
  ["run", run],
  ["experiment", experiment],
  ["tasks", tasks],
  ["flags", flags],
  ["templates", templates],
  ["index", index],
  ["pregenerated", pregenerated],
];

/** Draws an input. */
export function drawInput(
  dice: Dice,
  options: { index: number; material: Material },
): Input {
  const { index, material } = options;
  const [kind, draw] = KINDS[index % KINDS.length] ?? ["flags", flags];
  return { kind, ...draw({ dice, material }) };
}
