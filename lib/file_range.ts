/**
 * Reads a stretch of an open file.
 *
 * @module
 */

/**
 * Reads the bytes from `begin` up to `end`.
 *
 * @param file Open for reading; its position is moved.
 * @param range Offsets in bytes.
 * @returns The bytes; fewer than asked for when the file ends before.
 */
export async function readRange(
  file: Deno.FsFile,
  range: { begin: number; end: number },
): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(range.end - range.begin);
  await file.seek(range.begin, Deno.SeekMode.Start);
  let filled = 0;
  while (filled < bytes.byteLength) {
    const count = await file.read(bytes.subarray(filled));
    if (count === null) break;
    filled += count;
  }
  return bytes.subarray(0, filled);
}
