/**
 * The digest of a kernel library's sources, which says whether a prebuilt library is stale.
 *
 * @module
 */
import { relative } from "node:path";

/** What belongs to every library: the contract, and how libraries are built. */
const COMMON: readonly string[] = ["sx_kernels.h", "build.ts", "digest.ts"];

/**
 * SHA-256 over paths and contents of the header, the build script and the folders of a library's
 * sources, in the order of their paths.
 *
 * @param root The folder `kernels`. @param folders Below it, for example `cpu`.
 * @returns Lower-case hexadecimal.
 */
export async function digestSources(root: string, folders: readonly string[]): Promise<string> {
  const paths = COMMON.map((name) => `${root}/${name}`);
  for (const folder of folders) paths.push(...await filesBelow(`${root}/${folder}`));
  const encoder = new TextEncoder();
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (const path of paths.sort()) {
    const content = await Deno.readFile(path);
    parts.push(encoder.encode(`${relative(root, path)}\n${content.length}\n`), content);
  }
  const bytes = await new Blob(parts).bytes();
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/** The source files of a folder and its folders. */
async function filesBelow(folder: string): Promise<string[]> {
  const paths: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) paths.push(...await filesBelow(path));
    else if (/\.(cpp|cu|cuh|h)$/.test(entry.name)) paths.push(path);
  }
  return paths;
}
