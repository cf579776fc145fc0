/**
 * The digest of a kernel library's sources, which says whether a prebuilt library is stale.
 *
 * @module
 */
import { relative } from "node:path";

/** What belongs to every library: the contract, and how libraries are built. */
const COMMON: readonly string[] = [
  "sx_kernels.h",
  "sx_attention.h",
  "build_tools.ts",
  "digest.ts",
];

/** What belongs to the libraries of one backend, so that none becomes stale by another's changes. */
const OWN = {
  cpu: { script: "build_cpu.ts", folders: ["abi", "cpu", "reference"] },
  cuda: { script: "build_cuda.ts", folders: ["abi", "cuda"] },
} as const;

/** A backend that has prebuilt libraries. */
export type Backend = keyof typeof OWN;

/** The backends that have prebuilt libraries. */
export const BACKENDS: readonly Backend[] = ["cpu", "cuda"];

/**
 * SHA-256 over paths and contents of the header, the build scripts and the folders of a backend's
 * sources, in the order of their paths.
 *
 * @param root The folder `kernels`.
 * @returns Lower-case hexadecimal.
 */
export async function digestSources(root: string, backend: Backend): Promise<string> {
  const { script, folders } = OWN[backend];
  const paths = [...COMMON, script].map((name) => `${root}/${name}`);
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
