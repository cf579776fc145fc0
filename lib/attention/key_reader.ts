/**
 * Keys and values of 8 bits as the ops of prefill read them: those of the one layer that is at work,
 * expanded to floats in memory that all layers of a device share.
 *
 * Every query meets the rounded keys, also those of its own chunk, so that nothing depends on how a
 * prompt is cut into chunks.
 *
 * @module
 */
import { isScaled, type KvDType, type KvSegment } from "../device/kv_segment.ts";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { workspaceBytes } from "../device/workspace.ts";
import { invariant } from "../errors.ts";
import { TILE_TOKENS } from "../ffi/symbols.ts";
import { kvExpand } from "../ops/kv_expand.ts";

/** The keys of a layer in the two segments of a call. */
export interface LayerKeys {
  readonly keys: KvSegment;
  readonly prefix?: KvSegment | undefined;
}

/** What decides about the memory for expanded keys. */
export interface KeyReaderSizes {
  readonly kvHeads: number;
  readonly headDim: number;
  /** What 8 bits are expanded to. */
  readonly readDtype: "bf16" | "f32";
}

/** Keys and values of one layer; both segments begin with a tile. */
interface Expanded {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Rows for some tokens: whole tiles, as an op may read the last one to its end. */
function roomFor(tokens: number): number {
  return Math.ceil(tokens / TILE_TOKENS) * TILE_TOKENS;
}

/** The longest segments of a call. */
export interface SegmentTokens {
  readonly own: number;
  readonly prefix: number;
}

/** A tile more, as own keys may be cut in two at any token. */
function rowsFor({ own, prefix }: SegmentTokens): number {
  return roomFor(own) + roomFor(prefix) + TILE_TOKENS;
}

/** Bytes of a device's memory that expanded keys take; 0 where the cache has floats. */
export function expandedBytes(
  sizes: KeyReaderSizes & { readonly dtype: KvDType },
  tokens: SegmentTokens,
): number {
  return isScaled(sizes.dtype) ? rowBytes(sizes, rowsFor(tokens)) : 0;
}

function rowBytes(sizes: KeyReaderSizes, rows: number): number {
  const { kvHeads, headDim, readDtype: dtype } = sizes;
  const each = { dtype, shape: [kvHeads, rows, headDim] };
  return workspaceBytes([each, each]);
}

/** Expands keys; owns the memory that they lie in until the next ones are expanded. */
export class KeyReader implements Disposable {
  readonly #stages: readonly Stage[];
  readonly #sizes: KeyReaderSizes;
  #expanded: PerStage<Expanded> | undefined;
  #owned = new DisposableStack();
  #rows = 0;

  /** One without memory: `prepare()` makes it. */
  constructor(stages: readonly Stage[], sizes: KeyReaderSizes) {
    this.#stages = stages;
    this.#sizes = sizes;
  }

  /** Bytes that it has on each device. */
  get bytes(): number {
    return rowBytes(this.#sizes, this.#rows);
  }

  /**
   * Makes room for the longest segments that are to come; what was expanded is gone.
   *
   * @throws {KernelError} If there is not enough memory.
   */
  prepare(tokens: SegmentTokens): void {
    const { kvHeads, headDim, readDtype: dtype } = this.#sizes;
    const rows = rowsFor(tokens);
    if (rows <= this.#rows) return;
    this[Symbol.dispose]();
    using owned = new DisposableStack();
    const expanded = new PerStage(this.#stages, ({ device }) => {
      const shape = [kvHeads, rows, headDim];
      const make = (label: string) => owned.use(Tensor.allocate(device, { dtype, shape, label }));
      return { keys: make("expanded keys"), values: make("expanded values") };
    });
    this.#owned = owned.move();
    this.#expanded = expanded;
    this.#rows = rows;
  }

  /** The keys of a layer as floats, until the next ones are asked for on the same device. */
  async read(layer: number, { keys, prefix }: LayerKeys): Promise<LayerKeys> {
    const first = prefix && await this.#expand(layer, { segment: prefix, row: 0 });
    const row = prefix === undefined ? 0 : roomFor(keptTokens(prefix));
    return { keys: await this.#expand(layer, { segment: keys, row }), prefix: first };
  }

  /** Expands the tokens of a segment that are there into the rows from one on. */
  async #expand(
    layer: number,
    { segment, row }: { segment: KvSegment; row: number },
  ): Promise<KvSegment> {
    const out = this.#expanded?.of(layer);
    invariant(out !== undefined, "there is room for expanded keys before they are read");
    const { keys, values, scales, tokens, absent = 0 } = segment;
    const kept = keptTokens(segment);
    invariant(row + roomFor(kept) <= this.#rows, "expanded keys have room");
    if (kept > 0) {
      const [, capacity = 0] = keys.shape;
      const start = segment.start + absent;
      // To the end of the last tile, which an op may read: what lies there is finite.
      const count = Math.min(roomFor(kept), capacity - start);
      await kvExpand(keys.device, {
        out: { ...out, start: row },
        segment: { keys, values, scales, start, tokens: count },
      });
    }
    return { ...out, start: row - absent, tokens, absent };
  }

  /** Frees the memory; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
    this.#expanded = undefined;
    this.#rows = 0;
  }
}

/**
 * The keys of a layer as ops read them.
 *
 * @param reader Expands keys of 8 bits; absent where keys are read as they are.
 */
export async function readKeys(
  reader: KeyReader | undefined,
  layer: number,
  segments: LayerKeys,
): Promise<LayerKeys> {
  return await reader?.read(layer, segments) ?? segments;
}

function keptTokens({ tokens, absent = 0 }: KvSegment): number {
  return tokens - absent;
}
