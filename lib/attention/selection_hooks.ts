/**
 * Calls a selection of one's own for the rows of tiles of a chunk: masses, and what XAttention selects
 * of them, are read from the device; what is selected in their place is written there.
 *
 * @module
 */
import type { Tensor } from "../device/tensor.ts";
import { errorText, UsageError } from "../errors.ts";
import type { LoadedHooks, SelectionInfo, SelectionReader } from "./select_module.ts";

/** The selection of a chunk in a layer, on a device. */
export interface ChunkSelection {
  readonly layer: number;
  readonly block: number;
  /** The column of the first row's own tile. */
  readonly diagonal: number;
  readonly anchorColumns: number;
  readonly thresholdOf: (head: number) => number;
  /** [heads, rows, columns] f32. */
  readonly mass: Tensor;
  /** [heads, rows] i32: how many tiles each row selects. */
  readonly counts: Tensor;
  /** [heads, rows, columns] i32: which ones, the first `counts` of each row. */
  readonly indices: Tensor;
  /** The first column that a row sees, for layers with a window. */
  readonly firstColumn: (row: number) => number;
  readonly reader: SelectionReader;
}

/**
 * Lets a module select, and look at what is selected; counts and indices are changed in place.
 *
 * @throws {UsageError} If the module throws, or gives what is no selection.
 */
export async function runHooks(hooks: LoadedHooks, chunk: ChunkSelection): Promise<void> {
  const [heads = 0, rows = 0, columns = 0] = chunk.mass.shape;
  const mass = await chunk.mass.toFloats();
  const counts = await chunk.counts.toInts();
  const indices = await chunk.indices.toInts();
  const { layer, block, diagonal, anchorColumns, reader } = chunk;
  const common = { layer, block, rows, columns, diagonal, anchorColumns, reader };
  const cells = rows * columns;
  for (let head = 0; head < heads; head++) {
    const place = { ...common, threshold: chunk.thresholdOf(head) };
    const lists = {
      counts: counts.subarray(head * rows, (head + 1) * rows),
      indices: indices.subarray(head * cells, (head + 1) * cells),
    };
    const own = () => mass.slice(head * cells, (head + 1) * cells);
    if (hooks.select !== undefined) {
      const info = { ...place, head, tiles: tilesOf(lists, columns) };
      writeLists(lists, { ...chunk, columns, tiles: await select(hooks, own(), info) });
    }
    if (hooks.onSelection === undefined) continue;
    const event = { ...place, head, tiles: tilesOf(lists, columns), mass: own() };
    try {
      await hooks.onSelection(event);
    } catch (error) {
      throw thrown(hooks, { name: "onSelection", place: event, error });
    }
  }
  if (hooks.select === undefined) return;
  await chunk.counts.writeFrom(counts);
  await chunk.indices.writeFrom(indices);
}

async function select(
  hooks: LoadedHooks,
  mass: Float32Array<ArrayBuffer>,
  info: SelectionInfo,
): Promise<Uint8Array> {
  const { rows, columns, layer, head } = info;
  let tiles: unknown;
  try {
    tiles = await hooks.select?.(mass, info);
  } catch (error) {
    throw thrown(hooks, { name: "select", place: info, error });
  }
  if (tiles instanceof Uint8Array && tiles.length === rows * columns) return tiles;
  const found = tiles instanceof Uint8Array ? `${tiles.length} of them` : typeof tiles;
  throw new UsageError(
    `Cannot select tiles as select() of ${hooks.name} must give a Uint8Array of ${rows} x ` +
      `${columns} numbers in layer ${layer}, head ${head}: current value is ${found}`,
  );
}

function thrown(
  hooks: LoadedHooks,
  call: { name: string; place: Pick<SelectionInfo, "layer" | "head">; error: unknown },
): UsageError {
  const { name, place: { layer, head }, error } = call;
  return new UsageError(
    `Cannot select tiles as ${name}() of ${hooks.name} failed in layer ${layer}, head ${head}: ` +
      errorText(error),
    { cause: error },
  );
}

/** The lists of one head. */
interface TileLists {
  readonly counts: Int32Array;
  readonly indices: Int32Array;
}

function tilesOf({ counts, indices }: TileLists, columns: number): Uint8Array<ArrayBuffer> {
  const tiles = new Uint8Array(counts.length * columns);
  counts.forEach((count, row) => {
    for (const column of indices.subarray(row * columns, row * columns + count)) {
      tiles[row * columns + column] = 1;
    }
  });
  return tiles;
}

/** A row's own tile is always there, so that each query sees at least itself. */
function writeLists(
  { counts, indices }: TileLists,
  options: Pick<ChunkSelection, "diagonal" | "firstColumn"> & {
    columns: number;
    tiles: Uint8Array;
  },
): void {
  const { diagonal, firstColumn, columns, tiles } = options;
  counts.forEach((_, row) => {
    const own = diagonal + row;
    let count = 0;
    for (let column = firstColumn(row); column <= own; column++) {
      if (column !== own && tiles[row * columns + column] === 0) continue;
      indices[row * columns + count++] = column;
    }
    counts[row] = count;
  });
}
