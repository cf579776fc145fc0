/**
 * Makes a sequence of a context: takes pages for it and encodes this rank's part (phase 1).
 *
 * @module
 */
import type { RandomSelection } from "../attention/random_selection.ts";
import type { LoadedHooks } from "../attention/select_module.ts";
import { type CheckedPlan, mergeOf } from "../attention/plan.ts";
import type { KeyReader } from "../attention/key_reader.ts";
import type { TileRecords } from "../attention/tile_records.ts";
import type { Stage } from "../device/stages.ts";
import type { Transformer } from "../model/forward.ts";
import type { KvPools, KvRows, PoolTokens } from "../model/kv_pools.ts";
import type { Precision } from "../model/precision.ts";
import type { RopeLengths } from "../model/rope_frequencies.ts";
import type { ModelWeights } from "../model/weight_tensors.ts";
import type { Collective } from "../parallel/collective.ts";
import { isAnchorSent } from "./anchor_stream.ts";
import { encodeBlocks, type Phase1Result } from "./phase1.ts";
import { encodePart } from "./ring.ts";
import { type KeptOptions, keptTokens } from "./kept_tokens.ts";
import { Sequence } from "./sequence.ts";
import { chunkCount } from "./sequence_chunk.ts";
import { Pauses, type Turns } from "./turns.ts";

/** What contexts are encoded with. */
export interface EncodeOptions {
  readonly stages: readonly Stage[];
  readonly transformer: Transformer;
  readonly weights: ModelWeights;
  readonly precision: Precision;
  /** Expands keys of 8 bits; absent where keys are read as they are. */
  readonly reader?: KeyReader | undefined;
  readonly plan: CheckedPlan;
  readonly collective: Collective;
  /** Used in place of the tiles that the mass selects; for benchmarks. */
  readonly randomTiles: RandomSelection | undefined;
  /** A selection of one's own. */
  readonly hooks?: LoadedHooks | undefined;
  /** Gets what is recorded of this rank's blocks, where somebody asks for it. */
  readonly records: TileRecords | undefined;
  /** Called with the share of this rank's work that is done. */
  readonly onProgress: (fraction: number) => void;
  /** Asked on the way, and at the end. */
  readonly turns: Turns;
}

/** A context after phase 1. Disposal gives its pages back. */
export interface EncodedContext extends Disposable {
  readonly sequence: Sequence;
  /** What its encoding took. */
  readonly phase1: Pick<Phase1Result, "anchorPasses" | "selected">;
}

/**
 * Takes the pages of a sequence.
 *
 * @param options `room`: tokens of query and answer; pages have `spareRoom` more. `lengths`: what
 * rotations may depend on. `hasAnchor`: whether pages are taken for the anchor, too.
 * @throws {KernelError} If there is not enough memory.
 */
export async function reserveSequence(
  pools: KvPools,
  options: Omit<KeptOptions, "room"> & {
    contextTokens: number;
    room: number;
    spareRoom?: number;
    lengths: RopeLengths;
    hasAnchor: boolean;
  },
): Promise<Sequence> {
  const { spareRoom = 0, hasAnchor } = options;
  const { own, anchor, reaches } = keptTokens({ ...options, room: options.room + spareRoom });
  using owned = new DisposableStack();
  const take = async (tokens: PoolTokens): Promise<KvRows> =>
    owned.use(await pools.reserve(tokens, { reaches }));
  const rows = await take(own);
  const isEmpty = anchor.every((tokens) => tokens === 0);
  const anchorRows = isEmpty || !hasAnchor ? undefined : await take(anchor);
  owned.move();
  return new Sequence({ ...options, rows, anchorRows });
}

/**
 * Encodes this rank's part of a context.
 *
 * @param contextIds The whole context.
 * @param options `sequence`: new, of this context; it is disposed of if that fails.
 * @throws {WorkerError} If another rank is lost.
 */
export async function encodeContext(
  contextIds: Int32Array,
  options: EncodeOptions & { sequence: Sequence },
): Promise<EncodedContext> {
  const { stages, plan, sequence, transformer } = options;
  const { layout, blocks, rows, anchorRows, lengths } = sequence;
  const { config } = transformer;
  using owned = new DisposableStack();
  owned.use(sequence);
  const pauses = await Pauses.agree(options.turns, chunksOf(sequence, options));
  const common = { ...options, layout, contextIds, rows, lengths, pauses };
  const isRing = plan.cut.kind === "parts";
  using phase1 = isRing
    ? await encodePart({ ...common, config, next: sequence.queryFrom })
    : await encodeBlocks({ ...common, blocks, anchorRows });
  await pauses.finish();
  const { anchor, anchorPasses, selected } = phase1;
  const { reader } = options;
  await rows.makeMeans(sequence.wholeTiles, reader);
  await sequence.prepareMerge(anchor, { stages, config, merge: mergeOf(plan), reader });
  // Whoever measures phase 1 wants its end, not that of its start; what only it needs is freed then.
  for (const { device } of stages) await device.kernels.idle();
  await options.turns.turn();
  // Whoever frees it without a question has measured, on weights that are known.
  sequence.isSuspect = false;
  owned.move();
  return {
    sequence,
    phase1: { anchorPasses, selected },
    [Symbol.dispose]: () => sequence[Symbol.dispose](),
  };
}

/**
 * Copies an encoded context into a sequence of its own, so that two queries can be asked about it at
 * the same time.
 *
 * @param options `sequence`: new, of the same context; it is disposed of if that fails.
 */
export async function copyContext(
  source: EncodedContext,
  options: { sequence: Sequence; reader?: KeyReader | undefined },
): Promise<EncodedContext> {
  const { sequence, reader } = options;
  using owned = new DisposableStack();
  owned.use(sequence);
  const { rows, cachedTokens: end, queryFrom: next } = source.sequence;
  await sequence.rows.copyFrom(rows, { end, next });
  await sequence.rows.makeMeans(sequence.wholeTiles, reader);
  await sequence.copyAnchorMeans(source.sequence);
  owned.move();
  return {
    sequence,
    phase1: source.phase1,
    [Symbol.dispose]: () => sequence[Symbol.dispose](),
  };
}

/**
 * The chunks of this rank between which others may go on. While the anchor is sent, the ranks follow
 * each other layer by layer: the first block, in which that happens, counts as one.
 */
function chunksOf(
  sequence: Sequence,
  options: Pick<EncodeOptions, "collective" | "stages" | "transformer">,
): number {
  const { collective, stages, transformer } = options;
  const { layout, blocks, anchorRows } = sequence;
  const chunks = blocks.map(({ start, end }) => chunkCount(end - start, transformer));
  if (isAnchorSent(collective, { layout, stages })) chunks.fill(1, 0, 1);
  else if (anchorRows !== undefined) chunks.push(chunkCount(layout.anchorTokens, transformer));
  return chunks.reduce((sum, count) => sum + count, 0);
}
