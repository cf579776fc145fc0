/**
 * Which layers see everything and which a window, and how wide it is.
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";

/** What `layer_types` may call a layer. */
export const LAYER_TYPES = ["full_attention", "sliding_attention"] as const;

/** A type of layer. */
export type LayerType = typeof LAYER_TYPES[number];

/** A window that is wider than any context leaves everything to be seen. */
const WINDOW = { min: 1, max: 2 ** 31 - 1 } as const;

/**
 * The type of each layer: `layer_types`, or what the family says.
 *
 * @throws {FileError} If there is a type that is not computed, or not one for each layer.
 */
export function readLayerTypes(
  config: ConfigReader,
  options: {
    layerCount: number;
    /** Of a configuration without `layer_types`; undefined where all layers see everything. */
    layerType: ((layer: number) => LayerType) | undefined;
  },
): readonly LayerType[] {
  const { layerCount, layerType } = options;
  const found = config.value("layer_types");
  if (found === undefined) {
    return Array.from({ length: layerCount }, (_, layer) => layerType?.(layer) ?? "full_attention");
  }
  // transformers 5 writes types for layers that there are not, too, where the number was changed.
  const types: unknown[] = Array.isArray(found) ? found.slice(0, layerCount) : [];
  const known = types.filter((type): type is LayerType =>
    LAYER_TYPES.some((name) => name === type)
  );
  const allowed: readonly string[] = layerType === undefined ? ["full_attention"] : LAYER_TYPES;
  if (known.length === layerCount && known.every((type) => allowed.includes(type))) return known;
  const expected = `made of ${layerCount} of ${allowed.join(", ")}`;
  throw config.refusal("layer_types", { expected, found });
}

/** `sliding_window`; undefined where it is null. @throws {FileError} If it is no whole number. */
export function readWindow(
  config: ConfigReader,
  options: { fallback?: number } = {},
): number | undefined {
  const key = "sliding_window";
  if (config.value(key) === undefined) return config.has(key) ? undefined : options.fallback;
  return config.whole(key, WINDOW);
}

/** The window of families that have a switch for it. @throws {FileError} As `readWindow()`. */
export function readSwitchedWindow(
  config: ConfigReader,
  options: { fallback?: number } = {},
): number | undefined {
  const window = readWindow(config, options);
  return config.flag("use_sliding_window") ? window : undefined;
}
