/**
 * What a `config.json` says of weights that are stored in 8 bits: `quantization_config` of the
 * `compressed-tensors` form that vLLM's compressor writes for w8a8.
 *
 * A matrix NAME.weight is I8, and NAME.weight_scale has a factor for each of its rows; modules that the
 * configuration ignores, as a rule the head, are stored as usual. What a file has for each matrix, its
 * dtype says. Everything else that this key may ask for is refused by name.
 *
 * @module
 */
import type { ConfigReader } from "./config_reader.ts";

const KEY = "quantization_config";

/** Values that numbers of a kind must have, by key; null counts as absent, which passes. */
const WEIGHTS = { num_bits: 8, type: "int", symmetric: true, strategy: "channel", dynamic: false };
const INPUTS = { num_bits: 8, type: "int", symmetric: true, strategy: "token", dynamic: true };

/** Keys without which nothing is known of numbers. */
const NEEDED = ["num_bits", "strategy"] as const;

/**
 * Reads how the weights are stored.
 *
 * @returns `int8`, or undefined for floats.
 * @throws {FileError} If they are stored in another way.
 */
export function readQuantization(config: ConfigReader): "int8" | undefined {
  const section = config.section(KEY);
  if (section === undefined) return undefined;
  need(section, { quant_method: "compressed-tensors", format: "int-quantized" });
  section.expect("kv_cache_scheme", undefined);
  section.section("sparsity_config")?.expect("format", "dense");
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
    group?.expect("format", "int-quantized");
    for (const [key, values] of [["weights", WEIGHTS], ["input_activations", INPUTS]] as const) {
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
  return "int8";
}

/** Refuses keys that are absent or have another value. */
function need(section: ConfigReader, values: Readonly<Record<string, unknown>>): void {
  for (const [key, expected] of Object.entries(values)) {
    const found = section.value(key);
    if (found === expected) continue;
    throw section.refusal(key, { expected: JSON.stringify(expected), found });
  }
}
