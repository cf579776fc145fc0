/**
 * The rotary embedding's angle per position, for each pair of dimensions.
 *
 * As transformers' `modeling_rope_utils.py` computes it, rounded to float32 at the same places.
 *
 * @module
 */

/** Llama 3.1's scaling of the rotary frequencies. */
export interface Llama3RopeScaling {
  readonly kind: "llama3";
  /** Divisor of the low frequencies. */
  readonly factor: number;
  /** Wavelengths above `originalMaxPositions / lowFrequencyFactor` are scaled in full. */
  readonly lowFrequencyFactor: number;
  /** Wavelengths below `originalMaxPositions / highFrequencyFactor` are left alone. */
  readonly highFrequencyFactor: number;
  /** Positions that the model knew before it was extended. */
  readonly originalMaxPositions: number;
}

/** How queries and keys are rotated by their position. */
export interface RopeShape {
  /** Dimensions of a head that are rotated, from the first one on. */
  readonly dims: number;
  readonly theta: number;
  readonly scaling?: Llama3RopeScaling | undefined;
}

/**
 * The angle per position, for each pair of dimensions: `1 / theta^(2i / dims)`; with Llama 3.1's
 * scaling, low frequencies are divided by the factor, and those between the two limits are mixed
 * linearly.
 *
 * @returns [dims / 2] in radians per position.
 */
export function inverseFrequencies(rope: RopeShape): Float32Array<ArrayBuffer> {
  const { dims, theta: base, scaling } = rope;
  const f32 = Math.fround;
  const theta = f32(base);
  return Float32Array.from({ length: dims / 2 }, (_, pair) => {
    const frequency = f32(1 / f32(theta ** (2 * pair / dims)));
    return scaling === undefined ? frequency : scaledFrequency(frequency, scaling);
  });
}

function scaledFrequency(frequency: number, scaling: Llama3RopeScaling): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  const f32 = Math.fround;
  // PyTorch divides a number by a tensor as reciprocal times number, with two roundings.
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  if (wavelength > f32(scaling.originalMaxPositions / low)) return f32(frequency / f32(factor));
  if (wavelength < f32(scaling.originalMaxPositions / high)) return frequency;
  const ratio = f32(f32(1 / wavelength) * f32(scaling.originalMaxPositions));
  const smooth = f32(f32(ratio - f32(low)) / f32(high - low));
  const scaled = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
  return f32(scaled + f32(smooth * frequency));
}
