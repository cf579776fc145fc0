/**
 * What a `config.json` says of weights that are stored in 8 bits: `quantization_config` of the
 * `compressed-tensors` form that vLLM's compressor writes for w8a8, in whole numbers or in e4m3, and of
 * the `fbgemm_fp8` form.
 *
 * A matrix NAME.weight is I8 or F8_E4M3, and NAME.weight_scale has a factor for each of its rows; modules that
 * the configuration leaves out, as a rule the head, are stored as usual. Everything else that this key
 * may ask for is refused by name.
 *
 * @module
 */
import { describeValue } from "../text_file.ts";
import type { ConfigReader } from "./config_reader.ts";
import { type ModelShape, productShapes } from "./model_shape.ts";

const KEY = "quantization_config";

/** How a model's files have its matrices. */
export type StoredWeights = Pick<ModelShape, "storedWeights" | "floatWeights">;

/** Values that numbers of a kind must have, by key; null counts as absent, which passes. */
const WEIGHTS = { num_bits: 8, symmetric: true, strategy: "channel", dynamic: false };
const INPUTS = { num_bits: 8, symmetric: true, strategy: "token", dynamic: true };

/** Keys without which nothing is known of numbers. */
const NEEDED = ["num_bits", "strategy", "type"] as const;

/** The kinds of `compressed-tensors`, by their formats: what is stored, and the type of its numbers. */
const FORMATS: Readonly<Record<string, { kind: "int8" | "fp8"; type: string }>> = {
  "int-quantized": { kind: "int8", type: "int" },
  "float-quantized": { kind: "fp8", type: "float" },
};

/**
 * Reads how the weights are stored.
 *
 * @returns Nothing for floats.
 * @throws {FileError} If they are stored in another way.
 */
export function readQuantization(config: ConfigReader, shape: ModelShape): StoredWeights {
  const section = config.section(KEY);
  if (section === undefined) return {};
  const method = section.value("quant_method");
  if (method === "fbgemm_fp8") {
    return {
      storedWeights: "fp8",
      floatWeights: leftOut(section, "modules_to_not_convert", shape),
    };
  }
  if (method !== "compressed-tensors") {
    throw section.refusal("quant_method", {
      expected: '"compressed-tensors" or "fbgemm_fp8"',
      found: method,
    });
  }
  const format = section.value("format");
  const found = typeof format === "string" ? FORMATS[format] : undefined;
  if (found === undefined) {
    const expected = Object.keys(FORMATS).map((name) => JSON.stringify(name)).join(" or ");
    throw section.refusal("format", { expected, found: format });
  }
  section.expect("kv_cache_scheme", undefined);
  section.section("sparsity_config")?.expect("format", "dense");
  readGroups(section, { format, type: found.type });
  if (found.kind === "int8") return { storedWeights: found.kind };
  return { storedWeights: found.kind, floatWeights: leftOut(section, "ignore", shape) };
}

function readGroups(section: ConfigReader, found: { format: unknown; type: string }): void {
  const { format, type } = found;
  const groups = section.section("config_groups");
  const names = groups?.keys() ?? [];
  if (groups === undefined || names.length === 0) {
    throw section.refusal("config_groups", {
      expected: "an object of at least one group",
      found: section.value("config_groups"),
    });
  }
  for (const name of names) {
    const group = groups.section(name);
    group?.expect("output_activations", undefined);
    group?.expect("format", format);
    for (const [key, usual] of [["weights", WEIGHTS], ["input_activations", INPUTS]] as const) {
      const values = { ...usual, type };
      const numbers = group?.section(key);
      if (group === undefined || numbers === undefined) {
        throw groups.refusal(`${name}.${key}`, { expected: "an object", found: undefined });
      }
      for (const each of NEEDED) need(numbers, { [each]: values[each] });
      for (const [each, value] of Object.entries(values)) numbers.expect(each, value);
      for (const each of ["group_size", "actorder", "block_structure"]) {
        numbers.expect(each, undefined);
      }
    }
  }
}

/**
 * The matrices of layers that a list of modules leaves out: a module by its name, by that of a module
 * which has it, or, behind `re:`, by an expression.
 *
 * @throws {FileError} If the list is none.
 */
function leftOut(section: ConfigReader, key: string, shape: ModelShape): readonly string[] {
  const list = section.value(key) ?? [];
  const isText = (value: unknown): value is string => typeof value === "string";
  if (!Array.isArray(list) || !list.every(isText)) {
    throw section.refusal(key, { expected: "an array of names", found: list });
  }
  const tests = list.map((name) => moduleTest(section, { key, name }));
  return shape.layers.flatMap(productShapes).flatMap(({ weights }) => weights)
    .map(({ name }) => name)
    .filter((name) => tests.some((test) => test(name.replace(/\.weight$/, ""))));
}

function moduleTest(
  section: ConfigReader,
  { key, name }: { key: string; name: string },
): (module: string) => boolean {
  if (!name.startsWith("re:")) {
    return (module) => module === name || module.startsWith(`${name}.`);
  }
  try {
    // Python's match() begins at the start of the name.
    const expression = new RegExp(`^(?:${name.slice("re:".length)})`);
    return (module) => expression.test(module);
  } catch {
    throw section.refusal(key, {
      expected: "an array of names and expressions",
      found: describeValue(name),
    });
  }
}

/** Refuses keys that are absent or have another value. */
function need(section: ConfigReader, values: Readonly<Record<string, unknown>>): void {
  for (const [key, expected] of Object.entries(values)) {
    const found = section.value(key);
    if (found === expected) continue;
    throw section.refusal(key, { expected: JSON.stringify(expected), found });
  }
}
