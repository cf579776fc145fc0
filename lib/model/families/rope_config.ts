/**
 * The rotary embedding's keys: `rope_theta` and `rope_scaling`, or the `rope_parameters` in which
 * transformers 5 keeps both.
 *
 * @module
 */
import type { ConfigReader } from "../config_reader.ts";
import type { Llama3RopeScaling, RopeShape } from "../rope_frequencies.ts";

const MAX_POSITIONS = 1 << 27;

/** @throws {FileError} If a key has the wrong type or is out of its range. */
export function readRope(config: ConfigReader, sizes: { headDim: number }): RopeShape {
  const parameters = config.value("rope_parameters");
  const inner = config.section(parameters === undefined ? "rope_scaling" : "rope_parameters");
  const limits = { min: 1.0001, max: 1e12, fallback: 10000 };
  const outerTheta = config.number("rope_theta", limits);
  const base = { dims: sizes.headDim, theta: outerTheta };
  if (inner === undefined) return base;
  const theta = inner.number("rope_theta", { ...limits, fallback: outerTheta });
  const typeKey = inner.value("rope_type") === undefined && inner.value("type") !== undefined
    ? "type"
    : "rope_type";
  const kind = inner.value(typeKey);
  if (kind === "default") return { ...base, theta };
  if (kind !== "llama3") {
    throw inner.refusal(typeKey, { expected: `"llama3" or "default"`, found: kind });
  }
  return { ...base, theta, scaling: readLlama3Scaling(inner) };
}

function readLlama3Scaling(section: ConfigReader): Llama3RopeScaling {
  const lowFrequencyFactor = section.number("low_freq_factor", { min: 1e-3, max: 1e6 });
  const highFrequencyFactor = section.number("high_freq_factor", { min: 1e-3, max: 1e6 });
  if (highFrequencyFactor <= lowFrequencyFactor) {
    const expected = `above 'low_freq_factor' ${lowFrequencyFactor}`;
    throw section.refusal("high_freq_factor", { expected, found: highFrequencyFactor });
  }
  return {
    kind: "llama3",
    factor: section.number("factor", { min: 1, max: 1e6 }),
    lowFrequencyFactor,
    highFrequencyFactor,
    originalMaxPositions: section.whole("original_max_position_embeddings", {
      min: 1,
      max: MAX_POSITIONS,
    }),
  };
}
