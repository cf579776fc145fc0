/**
 * The anchor's keys and values, sent from rank 0 to all others layer by layer, so that they need not
 * encode the anchor again (Star Attention, arXiv 2411.17116, section 2.1, where every rank does).
 *
 * Rank 0 sends a layer as soon as its anchor tokens have it; the others run their first block right
 * behind, a layer later. All ranks' exchanges are in the order of their ops, so that rank 0 cannot
 * run ahead of the slowest one by more than a layer of the anchor: that costs nothing where rank 0
 * has no more blocks than the others, as its first one is the cheapest.
 *
 * @module
 */
import { copyHeadRows } from "../attention/head_rows.ts";
import type { Collective } from "../parallel/collective.ts";
import { exchangeOn } from "../parallel/device_exchange.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import { type KvArenaOptions, rowShapes, rowTensors } from "../model/layer_cache.ts";
import type { KvRows } from "../model/kv_pools.ts";
import type { BlockLayout } from "./blocks.ts";
import { isOn } from "./switches.ts";

/** The rank that has the anchor as its first block. */
const ROOT = 0;

/** Chunks that run side by side, for which memory is planned: each takes activations of its own. */
export const PLANNED_LANES = 2;
/**
 * Chunks that run side by side where memory is left: rank 0 has a layer of the anchor when all chunks
 * of the anchor are through it, and with fewer lanes the first chunks go through the whole model before.
 */
export const MOST_LANES = 16;

/** Some tokens of a block, from its first one. */
export interface ChunkRange {
  readonly begin: number;
  readonly end: number;
}

/**
 * Whether sending pays for a layout: there is another rank that has blocks, and rank 0 has no more than
 * the next one. With one more it would be the last to end already, and sending slows its first block
 * down.
 */
export function sendingPays({ blocksByRank, anchorTokens }: BlockLayout): boolean {
  const [first, second] = blocksByRank;
  return anchorTokens > 0 && second !== undefined && first?.length === second.length &&
    isOn("STARX_ANCHOR_STREAM");
}

/** Whether rank 0 sends the anchor: else each rank encodes it, between CPUs, or where it pays not. */
export function isAnchorSent(
  collective: Collective,
  options: { layout: BlockLayout; stages: readonly Stage[] },
): boolean {
  const { layout, stages } = options;
  const areConnected = stages.every(({ device }) => exchangeOn(collective, device).canBeRecorded);
  return areConnected && sendingPays(layout);
}

/**
 * Which chunks of a rank's first block run side by side, while the anchor is sent: `lanes` of them at
 * most.
 */
export function arrangeChunks(
  chunks: readonly ChunkRange[],
  options: { rank: number; anchorTokens: number; lanes: number },
): {
  before: readonly ChunkRange[];
  together: readonly ChunkRange[];
  after: readonly ChunkRange[];
} {
  const { rank, anchorTokens, lanes } = options;
  // Rank 0 can send a layer when the anchor's last chunk has it; the others need it at once.
  const end = rank === ROOT
    ? chunks.filter(({ begin }) => begin < anchorTokens).length
    : Math.min(lanes, chunks.length);
  const start = Math.max(0, end - lanes);
  return {
    before: chunks.slice(0, start),
    together: chunks.slice(start, end),
    after: chunks.slice(end),
  };
}

/** One rank's end of the exchange. */
export class AnchorStream implements Disposable {
  readonly #collective: Collective;
  readonly #rows: KvRows;
  readonly #owned: DisposableStack;
  readonly #anchorTokens: number;
  readonly #next: number;
  readonly #isKept: boolean;
  /** As `rowTensors()` has them. */
  readonly #packed: PerStage<readonly Tensor[]>;

  /**
   * @param options `rows`: on rank 0 those of its blocks, which begin with the anchor; elsewhere those
   * of the anchor alone, which are filled. `isKept`: false on a rank without blocks, which takes part
   * as all must, and forgets the anchor. `next`: the first token that another rank encodes; of a
   * layer with a window, what it does not see is not sent.
   */
  constructor(
    stages: readonly Stage[],
    options: KvArenaOptions & {
      collective: Collective;
      rows: KvRows;
      anchorTokens: number;
      next: number;
      isKept: boolean;
    },
  ) {
    const { collective, rows, anchorTokens } = options;
    this.#isKept = options.isKept;
    this.#next = options.next;
    this.#collective = collective;
    this.#rows = rows;
    this.#anchorTokens = anchorTokens;
    using owned = new DisposableStack();
    // The anchor's rows of a head lie together, those of the next head behind all other pages.
    const label = "anchor's keys and values, packed";
    const shapes = rowShapes({ ...options, rows: anchorTokens });
    this.#packed = new PerStage(
      stages,
      ({ device }) =>
        shapes.map((shape) => owned.use(Tensor.allocate(device, { ...shape, label }))),
    );
    this.#owned = owned.move();
  }

  /**
   * Sends a layer, or receives it; all ranks call it for one layer after the other.
   *
   * @throws {WorkerError} If a rank is lost.
   */
  async exchange(layer: number): Promise<void> {
    const first = this.#rows.firstFor(layer, this.#next);
    const tokens = this.#anchorTokens - first;
    if (tokens <= 0) return;
    const tensors = this.#isKept ? rowTensors(this.#rows.layer(layer)) : [];
    const start = this.#rows.runOf(layer).origin + first;
    for (const [i, all] of this.#packed.of(layer).entries()) {
      const exchange = exchangeOn(this.#collective, all.device);
      invariant(exchange.canBeRecorded, "the anchor is sent between devices");
      const [heads = 0, , headDim = 0] = all.shape;
      const sent = all.reshape([all.size / headDim, headDim]).rows(0, heads * tokens)
        .reshape([heads, tokens, headDim]);
      const tensor = tensors[i];
      const own = tensor && { tensor, start };
      const other = { tensor: sent, start: 0 };
      const isRoot = this.#collective.rank === ROOT;
      if (isRoot && own !== undefined) await copyHeadRows(tokens, { out: other, from: own });
      await exchange.broadcastRegion(sent, { root: ROOT });
      if (!isRoot && own !== undefined) await copyHeadRows(tokens, { out: own, from: other });
    }
  }

  /** Frees the packed layers; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
