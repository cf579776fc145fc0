/**
 * Phase 1 of modes `ring` and `ringx`: each rank runs its two pieces of the context through the
 * model with attention to all that lies before them, exact or over selected tiles; phase 2 is Star
 * Attention's.
 *
 * A rank needs the keys of a whole layer before it can go on, so its part goes through the layers as
 * one chunk.
 *
 * @module
 */
import type { RandomSelection } from "../attention/random_selection.ts";
import type { CheckedPlan } from "../attention/plan.ts";
import type { LoadedHooks } from "../attention/select_module.ts";
import { type KeyReader, readKeys } from "../attention/key_reader.ts";
import { RingAttention } from "../attention/ring.ts";
import { SelectedRingAttention } from "../attention/ring_selected.ts";
import type { Collective } from "../parallel/collective.ts";
import type { Stage } from "../device/stages.ts";
import { consecutive, Transformer } from "../model/forward.ts";
import type { KvRows } from "../model/kv_pools.ts";
import { type ModelShape, windowsOf } from "../model/model_shape.ts";
import { kvFormat, type Precision } from "../model/precision.ts";
import type { RopeLengths } from "../model/rope_frequencies.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import { type BlockLayout, tokensIn } from "./blocks.ts";
import { PartKeys } from "./part_keys.ts";
import type { Phase1Result } from "./phase1.ts";
import type { Pauses, Turns } from "./turns.ts";

/** What it works with. */
export interface RingPhaseOptions {
  /** Where the layers lie. */
  readonly stages: readonly Stage[];
  readonly config: ModelShape;
  readonly weights: ModelWeights;
  readonly precision: Precision;
  readonly plan: CheckedPlan;
  readonly layout: BlockLayout;
  readonly contextIds: Int32Array;
  /** The lengths of the whole sequence, for rotations that depend on them. */
  readonly lengths: RopeLengths;
  readonly collective: Collective;
  /** Where this rank's keys and values go, from row 0 on. */
  readonly rows: KvRows;
  /** Expands keys of 8 bits; absent where keys are read as they are. */
  readonly reader?: KeyReader | undefined;
  /** The row that the first token behind the context would have here. */
  readonly next: number;
  /** Used in place of the tiles that the mass selects; for benchmarks. */
  readonly randomTiles?: RandomSelection | undefined;
  /** A selection of one's own. */
  readonly hooks?: LoadedHooks | undefined;
  /** Called with the share of this rank's work that is done. */
  readonly onProgress: (fraction: number) => void;
  /** Asked before each exchange, on all ranks. */
  readonly turns: Turns;
  /** Made behind layers: all ranks are in the same one. */
  readonly pauses: Pauses;
}

/** Encodes this rank's part. */
export async function encodePart(options: RingPhaseOptions): Promise<Phase1Result> {
  const { stages, config, layout, collective, rows, contextIds, onProgress, precision } = options;
  const { queryHeads, kvHeads, headDim, layerCount } = config;
  const pieces = layout.blocksByRank[collective.rank] ?? [];
  const ownTokens = tokensIn(pieces);
  const base = { anchor: undefined, anchorPasses: 0, [Symbol.dispose]() {} };
  // The last layer's attention is not needed: only its keys and values are kept.
  const exchanges = collective.size > 1 ? layerCount - 1 : 0;
  const { dtype, readDtype } = kvFormat(precision);
  const sizes = { kvHeads, headDim, dtype, rows, next: options.next, tokens: ownTokens };
  using part = new PartKeys(stages, sizes);
  let layersDone = 0;
  let exchanged = 0;
  const ring = {
    collective,
    pieces: layout.blocksByRank,
    keys: async (layer: number) => {
      const { keys } = await readKeys(options.reader, layer, { keys: part.segment(layer) });
      return keys;
    },
    ...{ queryHeads, kvHeads, headDim, dtype: readDtype },
    scale: config.attentionScale,
    windowOf: windowsOf(config),
    onProgress: (fraction: number) => onProgress(Math.min(1, (layersDone + fraction) / layerCount)),
    beforeExchange: async () => {
      const isPaused = await options.pauses.spread({ done: exchanged++, all: layerCount });
      if (!isPaused) await options.turns.turn();
    },
  };
  const { plan: { selection }, randomTiles, hooks } = options;
  using attention = selection === undefined
    ? new RingAttention(stages, ring)
    : new SelectedRingAttention(stages, {
      ...{ ...ring, layerCount, selection, randomTiles, hooks },
      outDtype: precision.activations,
    });
  if (ownTokens === 0) {
    for (let layer = 0; layer < exchanges; layer++) await attention.exchange(layer);
    await allIdle(stages);
    return { ...base, selected: [] };
  }
  const ids = new Int32Array(ownTokens);
  const positions = new Int32Array(ownTokens);
  let row = 0;
  for (const { start, end } of pieces) {
    ids.set(contextIds.subarray(start, end), row);
    positions.set(consecutive(start, end - start), row);
    row += end - start;
  }
  using transformer = await wholePartTransformer(options, ids.length);
  await transformer.forward({
    ids,
    positions,
    target: part.target,
    attention: part.keeping(attention),
    keysOnly: true,
    lengthsOf: () => options.lengths,
    onLayer: () => {
      onProgress(layersDone / layerCount);
      layersDone++;
    },
  });
  await part.keep(layerCount - 1);
  onProgress(1);
  const counts = await attention.counts();
  await allIdle(stages);
  return { ...base, selected: counts.length === 0 ? [] : [counts] };
}

/**
 * Waits for the ops of all devices. Memory that they use is freed behind it: a device that frees waits,
 * and holds up all that this process does, also its hearing of a lost rank that an exchange waits for.
 */
async function allIdle(stages: readonly Stage[]): Promise<void> {
  for (const { device } of stages) await device.kernels.idle();
}

async function wholePartTransformer(
  options: RingPhaseOptions,
  maxTokens: number,
): Promise<Transformer> {
  const { stages, config, weights, precision } = options;
  using owned = new DisposableStack();
  const transformer = owned.use(new Transformer(stages, { config, weights, precision, maxTokens }));
  await transformer.prepare();
  owned.move();
  return transformer;
}
