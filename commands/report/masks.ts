/**
 * The tiles that a sample selected, for the page: read from disk, laid out over the whole context,
 * and drawn as paths.
 *
 * @module
 */
import type { ContextCut } from "../../lib/attention/plan.ts";
import { TILE_TOKENS } from "../../lib/ffi/symbols.ts";
import { maskBits, type TileMask } from "../../lib/attention/tile_masks.ts";
import { readJsonFile } from "../../lib/text_file.ts";
import type { Experiment } from "../results/experiment.ts";
import { MASKS_FILE } from "../ruler/masks_file.ts";
import { hasContent } from "../shared/samples.ts";

/** The masks of one sample, over the whole context. */
export interface MaskSet {
  readonly experiment: string;
  readonly length: number;
  readonly task: string;
  readonly sample: number;
  /** Rows and columns of tiles. */
  readonly tiles: number;
  readonly layers: number;
  readonly heads: number;
  /** The first row of each of Star Attention's blocks; one without blocks. */
  readonly blockStarts: readonly number[];
  /** Columns of the anchor; 0 without one. */
  readonly anchorTiles: number;
  /** By layer, then head: [tiles, tiles], 1 where a tile is computed. */
  readonly masks: readonly (readonly Uint8Array[])[];
}

interface MaskFile {
  readonly sample: number;
  readonly contextTokens: number;
  readonly cut: ContextCut;
  readonly masks: readonly TileMask[];
}

const MAX_BYTES = 1 << 26;
/** A page with more would be slow to open. */
const MAX_CELLS = 1 << 23;

/** The masks that each experiment kept, those of its shortest length that is not trivial. */
export async function readMaskSets(experiments: readonly Experiment[]): Promise<MaskSet[]> {
  const sets: MaskSet[] = [];
  for (const { name: experiment, lengths } of experiments) {
    for (const { maxTokens: length, folder, tasks } of lengths.toReversed()) {
      const found = await readFirst(folder, tasks.map(({ task }) => task));
      if (found === undefined) continue;
      const set = layOut(found.file, { experiment, length, task: found.task });
      if (set.layers * set.heads * set.tiles ** 2 > MAX_CELLS) continue;
      sets.push(set);
      break;
    }
  }
  return sets;
}

async function readFirst(
  folder: string,
  tasks: readonly string[],
): Promise<{ file: MaskFile; task: string } | undefined> {
  for (const task of tasks) {
    const path = `${folder}/logs/${task}/${MASKS_FILE}`;
    if (!(await hasContent(path))) continue;
    // Written by this program; a damaged one fails where it is not JSON.
    return { file: await readJsonFile(path, { maxBytes: MAX_BYTES }) as MaskFile, task };
  }
  return undefined;
}

/** Puts each block's rows where they belong in the whole matrix. */
export function layOut(
  file: MaskFile,
  names: { experiment: string; length: number; task: string },
): MaskSet {
  const { sample, contextTokens, cut, masks: parts } = file;
  const tilesOf = (tokens: number) => Math.ceil(tokens / TILE_TOKENS);
  const tiles = tilesOf(contextTokens);
  const blockTiles = cut.kind === "blocks" ? tilesOf(cut.blockTokens) : tiles;
  const blockStarts = Array.from(
    { length: Math.ceil(tiles / blockTiles) },
    (_, block) => block * blockTiles,
  );
  const anchorTiles = cut.kind === "blocks" && blockStarts.length > 1
    ? tilesOf(cut.anchorTokens)
    : 0;
  const layers = Math.max(...parts.map(({ layer }) => layer)) + 1;
  const heads = Math.max(...parts.map(({ heads }) => heads));
  const masks = Array.from(
    { length: layers },
    () => Array.from({ length: heads }, () => new Uint8Array(tiles * tiles)),
  );
  for (const part of parts) {
    const bits = maskBits(part);
    const start = blockStarts[part.block] ?? 0;
    const prefix = part.block === 0 ? 0 : anchorTiles;
    for (let head = 0; head < part.heads; head++) {
      const mask = masks[part.layer]?.[head];
      for (let row = 0; row < part.rows; row++) {
        for (let column = 0; column < part.width; column++) {
          const bit = bits[(head * part.rows + row) * part.width + column] ?? 0;
          const place = column < prefix ? column : start + column - prefix;
          if (bit === 1 && mask !== undefined) {
            mask[(start + part.firstRow + row) * tiles + place] = 1;
          }
        }
      }
    }
  }
  return { ...names, sample, tiles, layers, heads, blockStarts, anchorTiles, masks };
}

/** The set cells as an SVG path, a rectangle for each run in a row. */
export function maskPath(mask: Uint8Array, tiles: number): string {
  let path = "";
  for (let row = 0; row < tiles; row++) {
    for (let column = 0; column < tiles; column++) {
      if (mask[row * tiles + column] !== 1) continue;
      let end = column;
      while (end < tiles && mask[row * tiles + end] === 1) end++;
      path += `M${column} ${row}h${end - column}v1h${column - end}z`;
      column = end;
    }
  }
  return path;
}

/** What a mask lies on: the causal half, the blocks, the anchor. */
export function maskGround(
  set: Pick<MaskSet, "tiles" | "blockStarts" | "anchorTiles">,
): { causal: string; blocks: string; anchor: string } {
  const { tiles, blockStarts, anchorTiles } = set;
  const causal = Array.from({ length: tiles }, (_, row) => `M0 ${row}h${row + 1}v1h${-row - 1}z`);
  const ends = [...blockStarts.slice(1), tiles];
  const blocks = blockStarts.map((start, block) => {
    const size = (ends[block] ?? tiles) - start;
    return `M${start} ${start}h${size}v${size}h${-size}z`;
  });
  const [, second = tiles] = blockStarts;
  const anchor = anchorTiles === 0
    ? ""
    : `M0 ${second}h${anchorTiles}v${tiles - second}h${-anchorTiles}z`;
  return { causal: causal.join(""), blocks: blocks.join(""), anchor };
}

/** All masks of a set for the page's script: the bits of a layer's heads, in base64. */
export function maskData(set: MaskSet): Record<string, unknown> {
  const { masks, tiles, layers, heads, blockStarts, anchorTiles } = set;
  return {
    ...{ tiles, layers, heads, ...maskGround({ tiles, blockStarts, anchorTiles }) },
    masks: masks.map((layer) => layer.map((mask) => packed(mask))),
  };
}

function packed(mask: Uint8Array): string {
  const bytes = new Uint8Array(Math.ceil(mask.length / 8));
  for (const [bit, value] of mask.entries()) {
    if (value === 1) bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) | 1 << (bit & 7);
  }
  return bytes.toBase64();
}

/** The share of a layer and head's computed tiles of the causal ones. */
export function maskShare(mask: Uint8Array, tiles: number): number {
  return mask.reduce((sum, cell) => sum + cell, 0) / (tiles * (tiles + 1) / 2);
}
