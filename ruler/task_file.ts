/**
 * Tasks of one's own, in the form of `synthetic_task_config.yaml` and
 * `synthetic_inference_config.yaml` of NVIDIA/Star-Attention: a generator and its arguments by name,
 * and how many tokens are generated.
 *
 * @module
 */
import { FileError } from "../lib/errors.ts";
import { describeValue, isJsonObject } from "../lib/text_file.ts";
import { RULER_TASKS_2026 } from "./generators_2026/templates.ts";
import type { Generators, NeedleType, NiahSettings, TaskSettings } from "./model.ts";
import { RULER_TASKS, type RulerTask } from "./tasks.ts";
import { TASK_TEMPLATES } from "./templates.ts";

/** What a file's tasks are called: a part of a file's name, none that a chunk has. */
const TASK_NAME = /^[A-Za-z][\w]*$/;
/** Larger counts make prompts that no model reads, or none at all. */
const MAX_COUNT = 10_000;
const MAX_TOKENS = 100_000;
const HAYSTACKS = ["repeat", "essay", "needle"] as const satisfies NiahSettings["haystack"][];
/** As the generators of 2026 call them. */
const HAYSTACKS_2026 = ["noise", "essay", "needle"] as const;
const PLACES_2026 = ["noise", "essay"] as const;
const NEEDLES = ["numbers", "words", "uuids"] as const satisfies NeedleType[];
const DATASETS = ["squad", "hotpotqa"] as const;
/** The generators by the names that the file has for them. */
const SETTINGS: Readonly<Record<string, (args: Arguments, of: Generators) => TaskSettings>> = {
  niah: (args, of) => ({
    generator: "niah",
    haystack: of === "pinned"
      ? args.choice("type_haystack", HAYSTACKS, "essay")
      : haystackOf(args.choice("type_haystack", HAYSTACKS_2026, "essay")),
    keyType: args.choice("type_needle_k", NEEDLES, "words"),
    valueType: args.choice("type_needle_v", NEEDLES, "numbers"),
    keys: args.count("num_needle_k", 1),
    values: args.count("num_needle_v", 1),
    queries: args.count("num_needle_q", 1),
  }),
  variable_tracking: (args, of) => ({
    generator: "variable_tracking",
    chains: args.count("num_chains", 1),
    hops: args.count("num_hops", 4),
    ...(of === "2026" && args.choice("type_haystack", PLACES_2026, "noise") === "essay"
      ? { haystack: "essay" }
      : {}),
  }),
  common_words_extraction: (args, of) => ({
    generator: "common_words_extraction",
    commonFrequency: args.count("freq_cw", 30),
    otherFrequency: args.count("freq_ucw", 3),
    commonCount: args.count("num_cw", 10),
    ...(of === "2026" && args.has("num_fewshot")
      ? { examples: args.count("num_fewshot", 1, { min: 0 }) }
      : {}),
  }),
  freq_words_extraction: (args, of) => ({
    generator: "freq_words_extraction",
    alpha: args.number("alpha", { usual: 2, above: 1 }),
    ...(of === "2026" && args.has("coded_wordlen")
      ? { wordLetters: args.count("coded_wordlen", 6) }
      : {}),
    ...(of === "2026" && args.has("vocab_size")
      ? { vocabularySize: args.count("vocab_size", 1) }
      : {}),
  }),
  qa: (args) => ({ generator: "qa", dataset: args.choice("dataset", DATASETS, undefined) }),
};

/**
 * Reads the tasks of a file.
 *
 * @param value The parsed file: an object of tasks, each with `task` (the generator), `args` and
 * perhaps `tokens_to_generate`; or with one `tokens_to_generate` by the tasks' names.
 * @param path Names the file in messages.
 * @param options Whose generators make the tasks' data; by default the pinned ones.
 * @returns The tasks that RULER does not have, by their names.
 * @throws {FileError} If an entry is none, or is called as one of RULER's with other settings.
 */
export function parseTasks(
  value: unknown,
  path: string,
  options: { generators?: Generators | undefined } = {},
): ReadonlyMap<string, RulerTask> {
  const { generators = "pinned" } = options;
  const known = tasksOf(generators);
  if (!isJsonObject(value)) {
    throw new FileError(`Cannot use ${path}: it must hold tasks by name: ${describeValue(value)}`);
  }
  const { tokens_to_generate: tokens, ...entries } = value;
  const tasks = new Map<string, RulerTask>();
  for (const [name, entry] of Object.entries(entries)) {
    const limit = isJsonObject(tokens) && Object.hasOwn(tokens, name) ? tokens[name] : undefined;
    const task = parseTask(name, entry, { path, tokens: limit, generators });
    const rulers = Object.hasOwn(known, name) ? known[name] : undefined;
    if (rulers === undefined) tasks.set(name, task);
    else if (JSON.stringify(rulers) !== JSON.stringify({ ...rulers, settings: task.settings })) {
      throw new FileError(
        `Cannot use ${path}: '${name}' must have the settings of RULER's task, or another name`,
      );
    }
  }
  return tasks;
}

function parseTask(
  name: string,
  entry: unknown,
  options: { path: string; tokens: unknown; generators: Generators },
): RulerTask {
  const { path, generators } = options;
  const refuse = (key: string, rule: string, found: unknown): never => {
    throw new FileError(
      `Cannot use ${path}: '${name}${key}' must ${rule}: current value is ${describeValue(found)}`,
    );
  };
  if (!TASK_NAME.test(name)) refuse("", "be a name of letters, digits and '_'", name);
  if (!isJsonObject(entry)) return refuse("", "be an object", entry);
  const { task: generator, args = {}, tokens_to_generate: own = options.tokens } = entry;
  const read = typeof generator === "string" && Object.hasOwn(SETTINGS, generator)
    ? SETTINGS[generator]
    : undefined;
  if (read === undefined) {
    return refuse(".task", `be one of ${Object.keys(SETTINGS).join(", ")}`, generator);
  }
  if (!isJsonObject(args)) return refuse(".args", "be an object", args);
  const reader = new Arguments(args, (key, rule, found) => refuse(`.args.${key}`, rule, found));
  const settings = read(reader, generators);
  reader.finish();
  const { tokensToGenerate: usual } = TASK_TEMPLATES[settings.generator];
  const tokens = own ?? usual;
  if (
    typeof tokens !== "number" || !Number.isInteger(tokens) || tokens < 1 || tokens > MAX_TOKENS
  ) {
    return refuse(".tokens_to_generate", `be a whole number from 1 to ${MAX_TOKENS}`, tokens);
  }
  return {
    settings,
    tokensToGenerate: tokens,
    metric: settings.generator === "qa" ? "part" : "all",
  };
}

/** RULER's own tasks as the generators have them. */
export function tasksOf(generators: Generators): Readonly<Record<string, RulerTask>> {
  return generators === "pinned" ? RULER_TASKS : RULER_TASKS_2026;
}

function haystackOf(name: typeof HAYSTACKS_2026[number]): NiahSettings["haystack"] {
  return name === "noise" ? "repeat" : name;
}

/** Arguments of a generator, each checked when it is read. */
class Arguments {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #refuse: (key: string, rule: string, found: unknown) => never;
  readonly #read = new Set<string>();

  constructor(
    values: Readonly<Record<string, unknown>>,
    refuse: (key: string, rule: string, found: unknown) => never,
  ) {
    this.#values = values;
    this.#refuse = refuse;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  count(key: string, usual: number, limits: { min?: number } = {}): number {
    const { min = 1 } = limits;
    const value = this.#take(key) ?? usual;
    const isWhole = typeof value === "number" && Number.isInteger(value);
    if (isWhole && value >= min && value <= MAX_COUNT) return value;
    return this.#refuse(key, `be a whole number from ${min} to ${MAX_COUNT}`, value);
  }

  number(key: string, options: { usual: number; above: number }): number {
    const value = this.#take(key) ?? options.usual;
    if (typeof value === "number" && value > options.above && value < MAX_COUNT) return value;
    return this.#refuse(key, `be a number above ${options.above}`, value);
  }

  choice<C extends string>(key: string, choices: readonly C[], usual: C | undefined): C {
    const value = this.#take(key) ?? usual;
    const found = choices.find((choice) => choice === value);
    return found ?? this.#refuse(key, `be one of ${choices.join(", ")}`, value);
  }

  /** Whatever was not read is a mistake of the writer's. */
  finish(): void {
    for (const [key, value] of Object.entries(this.#values)) {
      if (!this.#read.has(key)) this.#refuse(key, "be an argument of this generator", value);
    }
  }

  #take(key: string): unknown {
    this.#read.add(key);
    return Object.hasOwn(this.#values, key) ? this.#values[key] : undefined;
  }
}
