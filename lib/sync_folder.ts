/**
 * Puts a folder's entries on disk.
 *
 * @module
 */

/**
 * Waits until names that were made, changed or removed in a folder are on disk: a file that is
 * written and synced can otherwise lose its name when the machine stops.
 *
 * @param path The folder. Where a file system cannot do that, nothing happens.
 */
export async function syncFolder(path: string): Promise<void> {
  try {
    using folder = await Deno.open(path, { read: true });
    await folder.sync();
  } catch {
    // Some file systems, and systems other than Linux, know no such thing for folders.
  }
}
