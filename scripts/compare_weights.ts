/**
 * Compares the logits that weights of 8 bits give with those of the same weights in bf16, on a random
 * model of a published shape: `deno run -A scripts/compare_weights.ts [--device=cuda]
 * [--shape=llama-3.1-8b] [--layers=32] [--tokens=2048] [--kind=fp8]`.
 *
 * Prints the cosine of the last token's logits, and what is off of them in their standard deviations:
 * with all matrices rounded, with the products down in bf16, and with the head rounded, too; then with as
 * many layers as of each power of two.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { checkPlan } from "../lib/attention/plan.ts";
import { DEVICE_TRAITS } from "../lib/device/device.ts";
import { openDevice } from "../lib/device/open.ts";
import { stagesOn } from "../lib/device/stages.ts";
import { RankModel } from "../lib/engine/rank.ts";
import { isTied, type ModelShape, productShapes } from "../lib/model/model_shape.ts";
import { type EightBits, type Precision, PRECISIONS } from "../lib/model/precision.ts";
import { randomWeights } from "../lib/model/random_weights.ts";
import { modelShape } from "../lib/model/shapes.ts";
import { SelfCollective } from "../lib/parallel/self.ts";
import { uniformNumbers } from "../lib/random.ts";
import type { Device } from "../lib/device/device.ts";

/** One way to round a model. */
interface Rounding {
  readonly name: string;
  readonly config: ModelShape;
  readonly precision: Precision;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      device: { type: "string", default: "cuda" },
      shape: { type: "string", default: "llama-3.1-8b" },
      layers: { type: "string", default: "32" },
      tokens: { type: "string", default: "2048" },
      kind: { type: "string", default: "fp8" },
    },
  });
  const whole = modelShape(values.shape);
  if (whole === undefined) throw new RangeError(`Cannot compare as there is no ${values.shape}`);
  const kind: EightBits = values.kind === "int8" ? "int8" : "fp8";
  const deviceKind = values.device === "cpu" ? "cpu" : "cuda";
  using device = await openDevice({ kind: deviceKind, threads: navigator.hardwareConcurrency });
  const tokens = Number(values.tokens);
  const most = Math.min(whole.layerCount, Number(values.layers));
  print(`${device.description}, ${values.shape}, ${tokens} tokens, ${kind}`);
  for (let layers = 1; layers < most; layers *= 2) {
    await compare(device, { config: withLayers(whole, layers), kind, tokens, isWhole: false });
  }
  await compare(device, { config: withLayers(whole, most), kind, tokens, isWhole: true });
}

async function compare(
  device: Device,
  task: { config: ModelShape; kind: EightBits; tokens: number; isWhole: boolean },
): Promise<void> {
  const { config, kind, tokens, isWhole } = task;
  const { bf16 } = PRECISIONS;
  const rounded: Precision = { ...bf16, weights: kind };
  const roundings: Rounding[] = [{ name: "all matrices", config, precision: rounded }];
  if (isWhole) {
    // What files leave out is left out here, too.
    const floatWeights = config.layers.flatMap(productShapes).flatMap(({ weights }) => weights)
      .map(({ name }) => name).filter((name) => name.includes("down_proj"));
    if (kind === "fp8") {
      const kept = { ...config, floatWeights };
      roundings.push({ name: "all but down", config: kept, precision: rounded });
    }
    // A tied head in 8 bits is a matrix of its own here, with random numbers of its own.
    if (!isTied(config)) {
      roundings.push({ name: "head, too", config, precision: { ...rounded, head: kind } });
    }
  }
  const exact = await lastLogits(device, { config, precision: bf16, tokens });
  for (const { name, ...rounding } of roundings) {
    const found = await lastLogits(device, { ...rounding, tokens });
    const { cosine, error } = distance(found, exact);
    print(
      `${String(config.layerCount).padStart(2)} layers, ${name}: cosine ${cosine.toFixed(6)}, ` +
        `off by ${error.toFixed(4)} standard deviations`,
    );
  }
}

/** A model's first layers. */
function withLayers(config: ModelShape, count: number): ModelShape {
  return { ...config, layerCount: count, layers: config.layers.slice(0, count) };
}

async function lastLogits(
  device: Device,
  run: { config: ModelShape; precision: Precision; tokens: number },
): Promise<Float64Array> {
  const { config, precision, tokens } = run;
  const stages = stagesOn([device], config);
  using weights = await randomWeights(stages, config, precision);
  const { chunkTokens } = DEVICE_TRAITS[device.kind];
  const plan = checkPlan({ mode: "dense" });
  const parts = { config, stages, weights, plan, precision, chunkTokens };
  const model = await RankModel.assemble(parts);
  try {
    const random = uniformNumbers(7);
    const ids = Int32Array.from(
      { length: tokens },
      () => Math.floor(random() * config.vocabularySize),
    );
    const collective = new SelfCollective();
    const onLayer = () => {};
    using encoded = await model.encode(ids.subarray(0, -1), {
      collective,
      room: 2,
      onProgress: onLayer,
    });
    const { topLogits } = await model.begin(encoded, {
      request: {
        sample: "compare",
        queryIds: ids.subarray(-1),
        tokensToGenerate: 1,
        stopIds: [],
        topLogits: config.vocabularySize,
      },
      collective,
      onLayer,
      onToken: () => {},
    });
    const logits = new Float64Array(config.vocabularySize);
    for (const [id, logit] of topLogits) logits[id] = logit;
    return logits;
  } finally {
    model[Symbol.dispose]();
  }
}

/** Cosine, and the root of the mean square of the difference in standard deviations of what is exact. */
export function distance(
  found: Float64Array,
  exact: Float64Array,
): { readonly cosine: number; readonly error: number } {
  let [dot, ownSize, size, off, sum] = [0, 0, 0, 0, 0];
  for (const [i, value] of exact.entries()) {
    const other = found[i] ?? NaN;
    dot += other * value;
    ownSize += other * other;
    size += value * value;
    off += (other - value) ** 2;
    sum += value;
  }
  const variance = size / exact.length - (sum / exact.length) ** 2;
  return {
    cosine: dot / Math.sqrt(ownSize * size),
    error: Math.sqrt(off / exact.length / variance),
  };
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) await main();
