/**
 * A model's forward pass in double precision, in plain loops over its shape: what the library's ops
 * are compared with, and what rounding to bf16 costs at each place.
 *
 * @module
 */
import { elementsToFloats } from "../../lib/device/elements.ts";
import { readConfig } from "../../lib/model/config.ts";
import {
  type LayerShape,
  layerWeights,
  type ModelShape,
  type ProductShape,
  type WeightSpec,
} from "../../lib/model/model_shape.ts";
import { attentionFactor, inverseFrequencies } from "../../lib/model/rope_frequencies.ts";
import { openWeightFiles } from "../../lib/model/weight_files.ts";
import { findWeight } from "../../lib/model/weight_lookup.ts";

/** A vector for each token. */
type Rows = readonly Float64Array[];

/** Places where numbers may be rounded. */
export type RoundingPlace =
  | "product input"
  | "query"
  | "key"
  | "value"
  | "softmax"
  | "result";

/** Rounds what is computed at some place. */
export type Rounding = (place: RoundingPlace, values: Float64Array) => Float64Array;

/** Whether a token sees an earlier one; its layer's window is kept in any case. */
export type Sight = (query: number, key: number) => boolean;

/** What a pass does otherwise than the model says. */
export interface PlainPass {
  /** By default nothing is rounded. */
  readonly round?: Rounding;
  /** By default a token sees all tokens before it. */
  readonly sees?: Sight;
}

/** A loaded model. */
export class PlainModel {
  readonly config: ModelShape;
  readonly #weights: ReadonlyMap<string, Float64Array>;

  private constructor(config: ModelShape, weights: ReadonlyMap<string, Float64Array>) {
    this.config = config;
    this.#weights = weights;
  }

  /** Reads a model's folder. */
  static async load(folder: string): Promise<PlainModel> {
    const config = await readConfig(folder);
    using files = await openWeightFiles(folder);
    const weights = new Map<string, Float64Array>();
    const add = (spec: WeightSpec): void => {
      const { entry, dtype } = findWeight(files, { spec, folder });
      if (dtype === "f64" || dtype === "q8_0" || dtype === "i8") {
        throw new TypeError(`Cannot read ${dtype} here`);
      }
      const { scale = 1 } = spec;
      const floats = elementsToFloats(entry.file.bytes.slice(entry.begin, entry.end), dtype);
      weights.set(spec.name, Float64Array.from(floats, (value) => value * scale));
    };
    for (const spec of [config.embedding, config.norm, config.head]) add(spec);
    for (const layer of config.layers) for (const spec of layerWeights(layer)) add(spec);
    return new PlainModel(config, weights);
  }

  /** The logits behind the last token. */
  logits(ids: readonly number[], pass: PlainPass = {}): Float64Array {
    const { round = (_, values) => values, sees = () => true } = pass;
    const { hiddenSize, embeddingScale, layers, norm, head } = this.config;
    const table = this.#of(this.config.embedding);
    let x: Rows = ids.map((id) =>
      table.slice(id * hiddenSize, (id + 1) * hiddenSize).map((value) => value * embeddingScale)
    );
    const added = (update: Rows): Rows =>
      x.map((row, t) => round("result", row.map((value, i) => value + at(update[t], i))));
    for (const layer of layers) {
      x = added(this.#normed(layer.outputNorm, this.#attention(layer, x, { round, sees }), round));
      x = added(this.#normed(layer.downNorm, this.#feedForward(layer, x, round), round));
    }
    const last = this.#input(norm, x.slice(-1), round);
    return this.#product({ weights: [head] }, last, round)[0] ?? new Float64Array();
  }

  #attention(layer: LayerShape, x: Rows, pass: Required<PlainPass>): Rows {
    const { round, sees } = pass;
    const { queryHeads, kvHeads, ownHeadDim: dim, attentionScale } = this.config;
    const all = this.#product(layer.qkv, this.#input(layer.inputNorm, x, round), round);
    const queries = queryHeads * dim;
    const keys = kvHeads * dim;
    const part = (start: number, count: number) =>
      all.map((row) => row.subarray(start, start + count));
    const rotated = (rows: Rows, place: RoundingPlace, norm: WeightSpec | undefined) =>
      this.#rotated(layer, this.#headsNormed(norm, rows, round)).map((row) => round(place, row));
    const q = rotated(part(0, queries), "query", layer.queryNorm);
    const k = rotated(part(queries, keys), "key", layer.keyNorm);
    const v = part(queries + keys, keys).map((row) => round("value", row));
    const attended = x.map((_, t) => {
      const row = new Float64Array(queries);
      const first = layer.window === undefined ? 0 : Math.max(0, t + 1 - layer.window);
      for (let head = 0; head < queryHeads; head++) {
        const query = at(q, t).subarray(head * dim, (head + 1) * dim);
        const out = row.subarray(head * dim, (head + 1) * dim);
        const start = Math.floor(head * kvHeads / queryHeads) * dim;
        const scores = Float64Array.from(
          { length: t + 1 - first },
          (_, j) =>
            sees(t, first + j)
              ? dot(query, at(k, first + j).subarray(start, start + dim)) * attentionScale
              : -Infinity,
        );
        const top = scores.reduce((a, b) => Math.max(a, b), -Infinity);
        const mass = scores.map((score) => Math.exp(score - top));
        const total = mass.reduce((a, b) => a + b, 0);
        for (const [j, weight] of round("softmax", mass).entries()) {
          const value = at(v, first + j).subarray(start, start + dim);
          const share = weight / total;
          for (let d = 0; d < dim; d++) out[d] = Number(out[d]) + share * Number(value[d]);
        }
      }
      return round("product input", row);
    });
    return this.#product(layer.output, attended, round);
  }

  #feedForward(layer: LayerShape, x: Rows, round: Rounding): Rows {
    const { intermediateSize: size } = this.config;
    const gateUp = this.#product(layer.gateUp, this.#input(layer.mlpNorm, x, round), round);
    const active = gateUp.map((row) => {
      const gate = round("result", row.slice(0, size).map((g) => g / (1 + Math.exp(-g))));
      return round("product input", gate.map((g, i) => g * at(row, size + i)));
    });
    return this.#product(layer.down, active, round);
  }

  /** The residual stream as the input of a product. */
  #input(norm: WeightSpec | undefined, x: Rows, round: Rounding): Rows {
    const { residualEps: eps } = this.config;
    return x.map((row) =>
      round(
        "product input",
        norm === undefined ? row : rmsNorm(row, { weight: this.#of(norm), eps }),
      )
    );
  }

  #normed(norm: WeightSpec | undefined, x: Rows, round: Rounding): Rows {
    if (norm === undefined) return x;
    const { normEps: eps } = this.config;
    return x.map((row) => round("result", rmsNorm(row, { weight: this.#of(norm), eps })));
  }

  /** A norm of each head, or of all heads together, as its weight is long. */
  #headsNormed(norm: WeightSpec | undefined, x: Rows, round: Rounding): Rows {
    if (norm === undefined) return x;
    const weight = this.#of(norm);
    const { length } = weight;
    const { normEps: eps } = this.config;
    return x.map((row) => {
      const out = new Float64Array(row.length);
      for (let start = 0; start < row.length; start += length) {
        out.set(rmsNorm(row.subarray(start, start + length), { weight, eps }), start);
      }
      return round("result", out);
    });
  }

  #rotated({ rope: index }: LayerShape, x: Rows): Rows {
    if (index === undefined) return x;
    const rope = at(this.config.ropes, index);
    const { ownHeadDim: dim } = this.config;
    const half = rope.dims / 2;
    const frequencies = inverseFrequencies(rope, x.length);
    const scale = attentionFactor(rope);
    return x.map((row, position) => {
      const out = row.slice();
      for (let start = 0; start < row.length; start += dim) {
        for (let pair = 0; pair < half; pair++) {
          const angle = position * at(frequencies, pair);
          const [c, s] = [Math.cos(angle) * scale, Math.sin(angle) * scale];
          const [a, b] = [at(row, start + pair), at(row, start + half + pair)];
          out[start + pair] = a * c - b * s;
          out[start + half + pair] = b * c + a * s;
        }
      }
      return out;
    });
  }

  #product({ weights, biases = [] }: ProductShape, x: Rows, round: Rounding): Rows {
    const bias = biases.flatMap((spec) => [...this.#of(spec)]);
    return x.map((row) => {
      const out: number[] = [];
      for (const spec of weights) {
        const weight = this.#of(spec);
        const [rows = 0, columns = 0] = spec.shape;
        for (let i = 0; i < rows; i++) {
          out.push(dot(row, weight.subarray(i * columns, (i + 1) * columns)));
        }
      }
      return round("result", Float64Array.from(out, (value, i) => value + (bias[i] ?? 0)));
    });
  }

  #of({ name }: WeightSpec): Float64Array {
    const weight = this.#weights.get(name);
    if (weight === undefined) throw new TypeError(`Cannot find ${name}`);
    return weight;
  }
}

function rmsNorm(
  row: Float64Array,
  { weight, eps }: { weight: Float64Array; eps: number },
): Float64Array {
  const scale = 1 / Math.sqrt(dot(row, row) / row.length + eps);
  return row.map((value, i) => value * scale * at(weight, i));
}

function dot(a: Float64Array, b: Float64Array): number {
  // Four sums at once, as each addition waits for the one before it.
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  const whole = a.length - a.length % 4;
  for (let i = 0; i < whole; i += 4) {
    s0 += Number(a[i]) * Number(b[i]);
    s1 += Number(a[i + 1]) * Number(b[i + 1]);
    s2 += Number(a[i + 2]) * Number(b[i + 2]);
    s3 += Number(a[i + 3]) * Number(b[i + 3]);
  }
  for (let i = whole; i < a.length; i++) s0 += Number(a[i]) * Number(b[i]);
  return s0 + s1 + s2 + s3;
}

function at<T>(values: ArrayLike<T> | undefined, index: number): T {
  const value = values?.[index];
  if (value === undefined) throw new RangeError(`Cannot read element ${index}`);
  return value;
}

/** The nearest bf16 number, ties to even. */
export function toBf16(values: Float64Array): Float64Array {
  const floats = Float32Array.from(values);
  const bits = new Uint32Array(floats.buffer);
  bits.forEach((word, i) => bits[i] = (word + 0x7fff + ((word >>> 16) & 1)) & 0xffff0000);
  return Float64Array.from(floats);
}
