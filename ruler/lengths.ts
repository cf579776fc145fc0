/**
 * The folders of lengths that results lie in: each is named by its tokens.
 *
 * @module
 */
import { isFolder, listFolder } from "../lib/files.ts";

/** A folder of one length. */
export interface LengthFolder {
  /** The folder's own name, which may begin with zeros. */
  readonly name: string;
  readonly maxTokens: number;
}

/**
 * The lengths of an experiment or a sweep, from the shortest on. A link to a folder is one, too; a
 * file with such a name is no length.
 *
 * @param folder Holds a folder per length.
 * @throws {FileError} If it cannot be listed.
 */
export async function listLengths(folder: string): Promise<LengthFolder[]> {
  const lengths: LengthFolder[] = [];
  for (const { name } of await listFolder(folder)) {
    if (!/^\d+$/.test(name)) continue;
    if (await isFolder(`${folder}/${name}`)) lengths.push({ name, maxTokens: Number(name) });
  }
  return lengths.sort((a, b) => a.maxTokens - b.maxTokens);
}
