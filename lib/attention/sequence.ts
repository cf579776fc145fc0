/**
 * Where the keys of one local sequence lie: an anchor block in front, and the block's own.
 *
 * @module
 */
import type { KvSegment } from "../device/kv_segment.ts";
import { type KeyReader, type LayerKeys, readKeys } from "./key_reader.ts";
import type { WindowOf } from "./window.ts";

/** The keys and values that a chunk of queries attends to, per layer. */
export interface SequenceKeys {
  /** The anchor block's keys; absent for the first block and in modes without blocks. */
  readonly prefix: ((layer: number) => KvSegment) | undefined;
  /** The block's own keys up to the chunk's last token. */
  readonly own: (layer: number) => KvSegment;
  /** The chunk's first query is key number `qOffset`, the prefix counted in. */
  readonly qOffset: number;
  /** Positions between the prefix and the block's own keys. */
  readonly prefixGap: number;
  readonly windowOf: WindowOf;
  /** Factor of the logits. */
  readonly scale: number;
  /** Expands keys of 8 bits; absent where keys are read as they are. */
  readonly reader?: KeyReader | undefined;
}

/** The keys and values of a layer as ops read them. */
export async function readLayer(keys: SequenceKeys, layer: number): Promise<LayerKeys> {
  const { own, prefix, reader } = keys;
  return await readKeys(reader, layer, { keys: own(layer), prefix: prefix?.(layer) });
}
