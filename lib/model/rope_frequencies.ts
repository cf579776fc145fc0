/**
 * The rotary embedding's angle per position, for each pair of dimensions.
 *
 * As transformers' `modeling_rope_utils.py` computes it, rounded to float32 at the same places. Two
 * kinds depend on a length. It is that of the token's own sequence, never of what runs beside it.
 *
 * @module
 */

/** All frequencies divided by a factor: positions are interpolated. */
export interface LinearRopeScaling {
  /** Tells the scalings apart. */
  readonly kind: "linear";
  /** Divisor of all frequencies. */
  readonly factor: number;
}

/** The base grows with the length (dynamic NTK). */
export interface DynamicRopeScaling {
  /** Tells the scalings apart. */
  readonly kind: "dynamic";
  /** How many times the original length is reached. */
  readonly factor: number;
  /** Up to this length nothing is scaled. */
  readonly originalMaxPositions: number;
}

/** YaRN (arXiv 2309.00071): low frequencies are interpolated, high ones are left alone. */
export interface YarnRopeScaling {
  /** Tells the scalings apart. */
  readonly kind: "yarn";
  /** Divisor of the low frequencies. */
  readonly factor: number;
  /** Positions that the model knew before it was extended. */
  readonly originalMaxPositions: number;
  /** Dimensions that turn more often than this in the original positions are left alone. */
  readonly betaFast: number;
  /** Dimensions that turn less often than this are interpolated in full. */
  readonly betaSlow: number;
  /** Whether the two limits are rounded to whole dimensions. */
  readonly truncate: boolean;
  /** Factor of cosines and sines. */
  readonly attentionFactor: number;
}

/** LongRoPE (arXiv 2402.13753): a divisor per dimension, one set for short texts, one for long. */
export interface LongRopeScaling {
  /** Tells the scalings apart. */
  readonly kind: "longrope";
  /** [dims / 2], up to the original length. */
  readonly shortFactors: readonly number[];
  /** [dims / 2], beyond it. */
  readonly longFactors: readonly number[];
  /** Positions that the model knew before it was extended. */
  readonly originalMaxPositions: number;
  /** Factor of cosines and sines. */
  readonly attentionFactor: number;
}

/** Llama 3.1's scaling of the rotary frequencies. */
export interface Llama3RopeScaling {
  /** Tells the scalings apart. */
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

/** A divisor per dimension, whatever the length: Llama 3.1's scaling as GGUF files keep it. */
export interface FactorRopeScaling {
  /** Tells the scalings apart. */
  readonly kind: "factors";
  /** [dims / 2]. */
  readonly factors: readonly number[];
}

/** How frequencies are scaled for texts that are longer than those of the training. */
export type RopeScaling =
  | LinearRopeScaling
  | DynamicRopeScaling
  | YarnRopeScaling
  | LongRopeScaling
  | Llama3RopeScaling
  | FactorRopeScaling;

/** How queries and keys are rotated by their position. */
export interface RopeShape {
  /** Dimensions of a head that are rotated, from the first one on; even. */
  readonly dims: number;
  /** The base of the frequencies: `rope_theta`. */
  readonly theta: number;
  /** How the frequencies are scaled; absent where they are not. */
  readonly scaling?: RopeScaling | undefined;
}

/** The lengths of a sequence that frequencies may depend on. */
export interface RopeLengths {
  /** Tokens of context and query. */
  readonly promptTokens: number;
  /** Those, and the tokens to generate but the last one: all that the model reads. */
  readonly totalTokens: number;
}

/**
 * The lengths of a sequence: `queryTokens` of the room behind its context are the query's, by default
 * all. The last token of an answer takes room, but is never read.
 */
export function lengthsOf(
  contextTokens: number,
  options: { room: number; queryTokens?: number | undefined },
): RopeLengths {
  const { room, queryTokens = room } = options;
  return {
    promptTokens: contextTokens + queryTokens,
    totalTokens: contextTokens + Math.max(0, room - 1),
  };
}

const f32 = Math.fround;

/** What cosines and sines are multiplied by. */
export function attentionFactor({ scaling }: RopeShape): number {
  return scaling?.kind === "yarn" || scaling?.kind === "longrope" ? scaling.attentionFactor : 1;
}

/** Whether frequencies depend on a sequence's lengths. */
export function dependsOnLength({ scaling }: RopeShape): boolean {
  return scaling?.kind === "dynamic" || scaling?.kind === "longrope";
}

/**
 * The length that decides about a token's frequencies.
 *
 * LongRoPE takes that of all tokens that are read, generated ones included, so that every key has
 * the rotation that a fresh pass over them gives it. Dynamic NTK takes the prompt's, and
 * from there on the length so far, as transformers' `generate()` does; cached keys stay as they are.
 */
export function decidingLength(
  { scaling }: RopeShape,
  token: { readonly position: number; readonly lengths: RopeLengths },
): number {
  const { position, lengths: { promptTokens, totalTokens } } = token;
  switch (scaling?.kind) {
    case "longrope":
      return totalTokens;
    case "dynamic":
      return Math.max(promptTokens, position + 1);
    default:
      return 0;
  }
}

/**
 * The angle per position, for each pair of dimensions.
 *
 * @param length As `decidingLength()` has it; without effect for kinds that depend on none.
 * @returns [dims / 2] in radians per position.
 */
export function inverseFrequencies(rope: RopeShape, length = 0): Float32Array<ArrayBuffer> {
  const { scaling } = rope;
  switch (scaling?.kind) {
    case undefined:
      return plainFrequencies(rope);
    case "linear":
      return plainFrequencies(rope).map((frequency) => f32(frequency / f32(scaling.factor)));
    case "dynamic":
      return plainFrequencies({ ...rope, theta: dynamicTheta(rope, { scaling, length }) });
    case "llama3":
      return plainFrequencies(rope).map((frequency) => llama3Frequency(frequency, scaling));
    case "factors":
      return plainFrequencies(rope).map((frequency, pair) =>
        f32(frequency / f32(scaling.factors[pair] ?? 1))
      );
    case "yarn":
      return yarnFrequencies(rope, scaling);
    case "longrope": {
      const isLong = length > scaling.originalMaxPositions;
      const factors = isLong ? scaling.longFactors : scaling.shortFactors;
      return Float32Array.from(
        powers(rope),
        (power, pair) => f32(1 / f32(f32(factors[pair] ?? 1) * power)),
      );
    }
  }
}

/** theta^(2i / dims). */
function powers({ dims, theta }: RopeShape): Float32Array<ArrayBuffer> {
  const base = f32(theta);
  return Float32Array.from({ length: dims / 2 }, (_, pair) => base ** f32(2 * pair / dims));
}

function plainFrequencies(rope: RopeShape): Float32Array<ArrayBuffer> {
  return powers(rope).map((power) => f32(1 / power));
}

function dynamicTheta(
  { dims, theta }: RopeShape,
  options: { scaling: DynamicRopeScaling; length: number },
): number {
  const { scaling: { factor, originalMaxPositions }, length } = options;
  const stretched = Math.max(length, originalMaxPositions);
  const growth = factor * stretched / originalMaxPositions - (factor - 1);
  return theta * growth ** (dims / (dims - 2));
}

function llama3Frequency(frequency: number, scaling: Llama3RopeScaling): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high } = scaling;
  // PyTorch divides a number by a tensor as reciprocal times number, with two roundings.
  const wavelength = f32(f32(1 / frequency) * f32(2 * Math.PI));
  if (wavelength > f32(scaling.originalMaxPositions / low)) return f32(frequency / f32(factor));
  if (wavelength < f32(scaling.originalMaxPositions / high)) return frequency;
  const ratio = f32(f32(1 / wavelength) * f32(scaling.originalMaxPositions));
  const smooth = f32(f32(ratio - f32(low)) / f32(high - low));
  const scaled = f32(f32(f32(1 - smooth) * frequency) / f32(factor));
  return f32(scaled + f32(smooth * frequency));
}

function yarnFrequencies(rope: RopeShape, scaling: YarnRopeScaling): Float32Array<ArrayBuffer> {
  const { dims, theta } = rope;
  const { factor, originalMaxPositions, betaFast, betaSlow, truncate } = scaling;
  /** The dimension that turns so many times in the original positions. */
  const dimensionOf = (turns: number) =>
    dims * Math.log(originalMaxPositions / (turns * 2 * Math.PI)) / (2 * Math.log(theta));
  const [fast, slow] = [dimensionOf(betaFast), dimensionOf(betaSlow)];
  const low = Math.max(0, truncate ? Math.floor(fast) : fast);
  const upper = Math.min(dims - 1, truncate ? Math.ceil(slow) : slow);
  const high = upper === low ? upper + 0.001 : upper;
  return powers(rope).map((power, pair) => {
    const ramp = f32(f32(pair - f32(low)) / f32(high - low));
    const kept = f32(1 - Math.min(1, Math.max(0, ramp)));
    const interpolated = f32(1 / f32(f32(factor) * power));
    const extrapolated = f32(1 / power);
    return f32(f32(interpolated * f32(1 - kept)) + f32(extrapolated * kept));
  });
}

/**
 * The frequencies of a chunk's tokens, for a rotation that depends on lengths.
 *
 * @param tokens The position of each token, and the lengths of its sequence.
 * @returns [tokens, dims / 2].
 */
export function chunkFrequencies(
  rope: RopeShape,
  tokens: { readonly positions: Int32Array; readonly lengthsOf: (token: number) => RopeLengths },
): Float32Array<ArrayBuffer> {
  const half = rope.dims / 2;
  const { positions, lengthsOf } = tokens;
  const rows = new Float32Array(positions.length * half);
  const known = new Map<number, Float32Array>();
  positions.forEach((position, token) => {
    const length = decidingLength(rope, { position, lengths: lengthsOf(token) });
    const row = known.get(length) ?? inverseFrequencies(rope, length);
    known.set(length, row);
    rows.set(row, token * half);
  });
  return rows;
}
