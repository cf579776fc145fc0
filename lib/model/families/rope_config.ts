/**
 * The rotary embedding's keys: `rope_theta` and `rope_scaling` as transformers 4 writes them, or the
 * `rope_parameters` in which transformers 5 keeps both, also one for each type of layer.
 *
 * @module
 */
import { isDeepStrictEqual } from "node:util";
import type { ConfigReader } from "../config_reader.ts";
import type {
  Llama3RopeScaling,
  LongRopeScaling,
  RopeScaling,
  RopeShape,
  YarnRopeScaling,
} from "../rope_frequencies.ts";
import { LAYER_TYPES, type LayerType } from "./layer_types.ts";

/** What the rotation needs to know of the model. */
export interface RopeSizes {
  readonly headDim: number;
  readonly maxPositions: number;
  /** `rope_theta` where the configuration has none. */
  readonly defaultTheta: number;
  /** Whether `partial_rotary_factor` is heard. */
  readonly isPartlyRotated: boolean;
}

const FACTOR = { min: 1, max: 1e6 } as const;
const THETA = { min: 1.0001, max: 1e12 } as const;
const POSITIONS = { min: 1, max: 1 << 27 } as const;
const RATIO = { min: 1e-6, max: 1e6 } as const;

/** The rotations of a model, by type of layer. */
type Ropes = Readonly<Record<LayerType, RopeShape>>;

/**
 * The rotations of a model, by type of layer where the configuration has one for each.
 *
 * @throws {FileError} If a key has the wrong type or is out of its range, the kind is unknown, or
 * `rope_parameters` and `rope_scaling` ask for different rotations.
 */
export function readRopes(config: ConfigReader, sizes: RopeSizes): Ropes {
  const scaling = config.section("rope_scaling");
  const parameters = config.section("rope_parameters");
  const hasScaling = scaling !== undefined && scaling.keys().length > 0;
  if (parameters === undefined) return ropesOf(hasScaling ? scaling : undefined, { config, sizes });
  const ropes = ropesOf(parameters, { config, sizes });
  if (!hasScaling) return ropes;
  // transformers 5 would hear `rope_scaling` alone, and its theta or the default one. Somebody who
  // stretches a model by that key means the other's theta: neither is guessed.
  const { theta } = ropes.full_attention;
  const others = ropesOf(scaling, { config, sizes: { ...sizes, defaultTheta: theta } });
  if (isDeepStrictEqual(ropes, others)) return ropes;
  throw config.refusal("rope_scaling", {
    expected: "absent, or the same, beside 'rope_parameters'",
    found: config.value("rope_scaling"),
  });
}

/**
 * How many positions a rotation leads to: a model that is stretched when it is run, and not by further
 * training, keeps its own number in `max_position_embeddings`.
 */
export function reachOf({ scaling }: RopeShape, maxPositions: number): number {
  switch (scaling?.kind) {
    case "linear":
      return Math.max(maxPositions, Math.floor(maxPositions * scaling.factor));
    case "dynamic":
    case "yarn":
      return Math.max(maxPositions, Math.floor(scaling.originalMaxPositions * scaling.factor));
    default:
      return maxPositions;
  }
}

/** @param section Undefined where nothing is scaled. */
function ropesOf(section: ConfigReader | undefined, context: RopeContext): Ropes {
  const { config, sizes } = context;
  const nested = LAYER_TYPES.filter((type) => section?.value(type) !== undefined);
  if (section === undefined || nested.length === 0) {
    const rope = readRope(section, { config, sizes });
    return { full_attention: rope, sliding_attention: rope };
  }
  const of = (type: LayerType) => {
    const own = section.section(nested.includes(type) ? type : nested[0] ?? type);
    return readRope(own, { config, sizes });
  };
  return { full_attention: of("full_attention"), sliding_attention: of("sliding_attention") };
}

interface RopeContext {
  readonly config: ConfigReader;
  readonly sizes: RopeSizes;
}

function readRope(section: ConfigReader | undefined, context: RopeContext): RopeShape {
  const { config, sizes } = context;
  const outerTheta = config.number("rope_theta", { ...THETA, fallback: sizes.defaultTheta });
  const theta = section?.number("rope_theta", { ...THETA, fallback: outerTheta }) ?? outerTheta;
  const share = sizes.isPartlyRotated ? readShare(section, config) : 1;
  const dims = Math.floor(sizes.headDim * share);
  if (dims < 2 || dims % 2 !== 0) {
    const expected = `such that an even number of the ${sizes.headDim} dimensions is rotated`;
    throw config.refusal("partial_rotary_factor", { expected, found: share });
  }
  const base = { dims, theta };
  if (section === undefined) return base;
  const scaling = readScaling(section, { ...context, dims });
  section.refuseUnread({ partial_rotary_factor: 1, mrope_section: undefined });
  return scaling === undefined ? base : { ...base, scaling };
}

/** `partial_rotary_factor`: beside the frequencies in transformers 5, else at the top. */
function readShare(section: ConfigReader | undefined, config: ConfigReader): number {
  const limits = { min: 0.01, max: 1, fallback: 1 };
  const outer = config.number("partial_rotary_factor", limits);
  return section?.number("partial_rotary_factor", { ...limits, fallback: outer }) ?? outer;
}

function readScaling(
  section: ConfigReader,
  context: RopeContext & { dims: number },
): RopeScaling | undefined {
  // Configurations before transformers 4.43 say `type`; a section with neither, as transformers 5
  // writes it, scales nothing.
  const isOld = section.value("rope_type") === undefined && section.value("type") !== undefined;
  const typeKey = isOld ? "type" : "rope_type";
  const isUnnamed = section.value(typeKey) === undefined && section.value("factor") !== undefined;
  const found = isUnnamed ? undefined : section.value(typeKey) ?? "default";
  const kind = typeof found === "string" ? found : "";
  // Early Phi-3 has another name for LongRoPE, of which it may be known by its factors.
  if (kind === "yarn" && section.value("short_factor") !== undefined) {
    return readLongRope(section, context);
  }
  switch (kind) {
    case "default":
      return undefined;
    case "linear":
      return { kind, factor: section.number("factor", FACTOR) };
    case "dynamic":
      return {
        kind,
        factor: section.number("factor", FACTOR),
        originalMaxPositions: context.sizes.maxPositions,
      };
    case "yarn":
      return readYarn(section, context);
    // The first name of LongRoPE, in early Phi-3.
    case "su":
    case "longrope":
      return readLongRope(section, context);
    case "llama3":
      return readLlama3(section);
  }
  const expected = `one of "default", "linear", "dynamic", "yarn", "longrope", "llama3"`;
  throw section.refusal(typeKey, { expected, found });
}

function readYarn(section: ConfigReader, context: RopeContext): YarnRopeScaling {
  const originalMaxPositions = readOriginal(section, context);
  const { maxPositions } = context.sizes;
  const ratio = Math.max(1, maxPositions / originalMaxPositions);
  const factor = section.number("factor", { ...FACTOR, fallback: ratio });
  const mscale = section.value("mscale") === undefined ? 0 : section.number("mscale", RATIO);
  const mscaleAll = section.value("mscale_all_dim") === undefined
    ? 0
    : section.number("mscale_all_dim", RATIO);
  const scaleOf = (weight: number) => factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1;
  const fallback = mscale > 0 && mscaleAll > 0 ? scaleOf(mscale) / scaleOf(mscaleAll) : scaleOf(1);
  return {
    kind: "yarn",
    factor,
    originalMaxPositions,
    betaFast: section.number("beta_fast", { ...RATIO, fallback: 32 }),
    betaSlow: section.number("beta_slow", { ...RATIO, fallback: 1 }),
    truncate: section.flag("truncate", true),
    attentionFactor: section.number("attention_factor", { ...RATIO, fallback }),
  };
}

function readLongRope(
  section: ConfigReader,
  context: RopeContext & { dims: number },
): LongRopeScaling {
  const { config, dims, sizes: { maxPositions } } = context;
  const length = dims / 2;
  const originalMaxPositions = readOriginal(section, context);
  const ratio = maxPositions / originalMaxPositions;
  // transformers 4 prefers the ratio where the original length stands at the top, as in Phi-3.
  const isRatio = config.value("rope_parameters") === undefined &&
    config.value("original_max_position_embeddings") !== undefined;
  const factor = isRatio ? ratio : section.number("factor", { ...FACTOR, min: 0, fallback: ratio });
  const fallback = factor <= 1
    ? 1
    : Math.sqrt(1 + Math.log(factor) / Math.log(originalMaxPositions));
  return {
    kind: "longrope",
    shortFactors: section.numbers("short_factor", { ...RATIO, length }),
    longFactors: section.numbers("long_factor", { ...RATIO, length }),
    originalMaxPositions,
    attentionFactor: section.number("attention_factor", { ...RATIO, fallback }),
  };
}

/** The positions of the training: beside the scaling, or at the top as in Phi-3. */
function readOriginal(section: ConfigReader, context: RopeContext): number {
  const key = "original_max_position_embeddings";
  const { config, sizes } = context;
  const source = section.value(key) === undefined ? config : section;
  return source.whole(key, { ...POSITIONS, fallback: sizes.maxPositions });
}

function readLlama3(section: ConfigReader): Llama3RopeScaling {
  const lowFrequencyFactor = section.number("low_freq_factor", { min: 1e-3, max: 1e6 });
  const highFrequencyFactor = section.number("high_freq_factor", { min: 1e-3, max: 1e6 });
  if (highFrequencyFactor <= lowFrequencyFactor) {
    const expected = `above 'low_freq_factor' ${lowFrequencyFactor}`;
    throw section.refusal("high_freq_factor", { expected, found: highFrequencyFactor });
  }
  return {
    kind: "llama3",
    factor: section.number("factor", FACTOR),
    lowFrequencyFactor,
    highFrequencyFactor,
    originalMaxPositions: section.whole("original_max_position_embeddings", POSITIONS),
  };
}
