/**
 * Attention of phase 2 over chosen tiles: for each sequence and key head, those that matter to its
 * queries are chosen by two bits of each number of their keys, and the others enter by their mean.
 *
 * Which ones is known to the device alone, so that recorded ops do for later tokens. What is chosen on a
 * rank depends on the tiles of one block at a time, and so on no other rank.
 *
 * @module
 */
import type { KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import type { Tensor } from "../device/tensor.ts";
import { Workspace, workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { attentionDecodeTiles } from "../ops/attention_decode_tiles.ts";
import { type DecodeKeep, decodeSelect } from "../ops/decode_select.ts";
import type { CodedMeans } from "../ops/key_codes.ts";

/** The means of a sequence's tiles on a rank. */
export interface PooledKeys {
  /** Its tiles that have a mean, from its first key on. */
  readonly tiles: number;
  /** Where its first key lies in the arenas of all layers that have means: a multiple of 128. */
  readonly firstRow: number;
  /** All rows of the arena of a layer. */
  readonly arena: (layer: number) => KvSegment;
  /** The means of all pages of a layer; undefined where it has none. */
  readonly means: (layer: number) => CodedMeans | undefined;
}

/** What is chosen, and among what. */
export interface KeepOptions {
  readonly keep: DecodeKeep;
  /** Tiles that are chosen among by themselves; 0: all of a sequence on a rank. */
  readonly unitTiles: number;
  readonly kvHeads: number;
}

/** One call: B sequences, each with as many queries. */
export interface ChosenTilesCall {
  readonly layer: number;
  /** [B * T, q_heads, head_dim], and so are `out` and `lse`. */
  readonly q: Tensor;
  readonly out: Tensor;
  readonly lse: Tensor | undefined;
  /** The arena, and the means of its pages. */
  readonly keys: KvSegment;
  readonly means: CodedMeans;
  /** [B] i32 each: first rows, keys, and tiles with a mean. */
  readonly firstRow: Tensor;
  readonly keyCount: Tensor;
  readonly pooledTiles: Tensor;
  /** The most keys, and the most tiles, that a sequence may have. */
  readonly sequenceCapacity: number;
  readonly tileCapacity: number;
  readonly causal: boolean;
}

/** Chooses and attends; owns the lists of a call. */
export class ChosenTiles implements Disposable {
  readonly #stages: readonly Stage[];
  readonly #options: KeepOptions & { scale: number; firstTiles: number };
  #lists: PerStage<Workspace> | undefined;
  #bytes = 0;
  #version = 0;

  /** @param options `rank`: the first one has the context's beginning, whose tile is always read. */
  constructor(
    stages: readonly Stage[],
    options: KeepOptions & { scale: number; rank: number },
  ) {
    this.#stages = stages;
    this.#options = { ...options, firstTiles: options.rank === 0 ? 1 : 0 };
  }

  /** Goes up whenever the lists lie elsewhere: what was recorded with them is void. */
  get version(): number {
    return this.#version;
  }

  /** Makes room for the lists of so many sequences. */
  prepare(size: { readonly sequences: number; readonly tiles: number }): void {
    const bytes = workspaceBytes(Object.values(this.#shapes(size)));
    if (bytes <= this.#bytes) return;
    this[Symbol.dispose]();
    this.#version++;
    using owned = new DisposableStack();
    const lists = new PerStage(
      this.#stages,
      ({ device }) => owned.use(Workspace.allocate(device, bytes)),
    );
    owned.move();
    this.#lists = lists;
    this.#bytes = bytes;
  }

  #shapes({ sequences, tiles }: { sequences: number; tiles: number }) {
    const shape = [sequences, this.#options.kvHeads, Math.max(1, tiles)];
    return {
      counts: { dtype: "i32", shape: shape.slice(0, 2) },
      indices: { dtype: "i32", shape },
      mass: { dtype: "f32", shape },
    } as const;
  }

  /** Chooses tiles for the queries of one layer, and attends to them and to the means of the others. */
  async attend(call: ChosenTilesCall): Promise<void> {
    const { layer, q, tileCapacity: tiles, ...rest } = call;
    const workspace = this.#lists?.of(layer);
    invariant(workspace !== undefined, "lists have room before they are written");
    const { keep, unitTiles, firstTiles, scale } = this.#options;
    const shapes = this.#shapes({ sequences: call.pooledTiles.size, tiles });
    workspace.reset();
    const counts = workspace.take(shapes.counts);
    const indices = workspace.take(shapes.indices);
    const mass = workspace.take(shapes.mass);
    const { means, firstRow, pooledTiles } = call;
    await decodeSelect(q.device, {
      ...{ counts, indices, mass, q, means, firstRow, pooledTiles, keep, unitTiles, firstTiles },
      scale,
    });
    await attentionDecodeTiles(q.device, { ...rest, q, counts, indices, scale });
  }

  /** Frees the lists; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const workspace of this.#lists?.all ?? []) workspace[Symbol.dispose]();
    this.#lists = undefined;
    this.#bytes = 0;
  }
}
