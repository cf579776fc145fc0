/**
 * Parquet files, by the hyparquet package.
 *
 * @module
 */
import { errorText, FileError } from "../errors.ts";
import { readRange } from "../file_range.ts";

/** Rows that are read at once: those of long contexts have megabytes each. */
const ROWS_AT_ONCE = 20;

/**
 * Reads columns of a file, row by row.
 *
 * @param path The file.
 * @param columns Their names; they must hold texts.
 * @throws {FileError} If it cannot be read, is no Parquet file, or a value is no text.
 */
export async function* readParquet<C extends string>(
  path: string,
  columns: readonly C[],
): AsyncGenerator<Record<C, string>> {
  const { parquetMetadataAsync, parquetReadObjects } = await import("npm:hyparquet@1.31.5");
  try {
    using file = await Deno.open(path);
    const { size } = await file.stat();
    // Ranges are asked for side by side, and a file has one position.
    let turn: Promise<unknown> = Promise.resolve();
    const buffer = {
      byteLength: size,
      slice: (begin: number, end: number = size): Promise<ArrayBuffer> => {
        const read = turn.then(async () => (await readRange(file, { begin, end })).buffer);
        turn = read.catch(() => undefined);
        return read;
      },
    };
    const metadata = await parquetMetadataAsync(buffer);
    const count = Number(metadata.num_rows);
    for (let start = 0; start < count; start += ROWS_AT_ONCE) {
      const rows = await parquetReadObjects({
        ...{ file: buffer, metadata, columns: [...columns] },
        ...{ rowStart: start, rowEnd: Math.min(count, start + ROWS_AT_ONCE) },
      });
      for (const [i, row] of rows.entries()) yield checkRow(row, { path, columns, row: start + i });
    }
  } catch (error) {
    if (error instanceof FileError) throw error;
    const reason = error instanceof Deno.errors.NotFound ? "it does not exist" : errorText(error);
    throw new FileError(`Cannot read ${path}: ${reason}`, { cause: error });
  }
}

function checkRow<C extends string>(
  values: Record<string, unknown>,
  place: { path: string; columns: readonly C[]; row: number },
): Record<C, string> {
  const { path, columns, row } = place;
  const texts = columns.map((column) => {
    const value = values[column];
    if (typeof value === "string") return [column, value] as const;
    throw new FileError(`Cannot read ${path}: row ${row + 1} must have a text '${column}'`);
  });
  return Object.fromEntries(texts) as Record<C, string>;
}
