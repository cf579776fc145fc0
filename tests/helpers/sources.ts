/**
 * The project's source files and what they import.
 *
 * @module
 */

/** The folder of the repository, with a slash at its end. */
export const ROOT = new URL("../../", import.meta.url);

/** One TypeScript module. */
export interface SourceFile {
  /** From the repository's folder on, for example `lib/errors.ts`. */
  readonly path: string;
  readonly text: string;
  /** What it imports or re-exports: paths as above, or specifiers of other schemes. */
  readonly imports: readonly string[];
}

/** Static and dynamic imports, re-exports, and entries of workers. */
const SPECIFIER =
  /(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)"([^"\n]+\.ts|npm:[^"\n]+|node:[^"\n]+|[a-z@][^"\n:./]*)"|new URL\(\s*"([^"\n]+\.ts)"/gm;

/** Folders that hold no sources of the project. */
const SKIPPED = /^(\.|node_modules$|coverage$|models$|prebuilt$)/;

/** All TypeScript modules below some folders (or single files) of the repository. */
export async function sourceFiles(...starts: readonly string[]): Promise<SourceFile[]> {
  const paths: string[] = [];
  for (const start of starts) paths.push(...await pathsBelow(start));
  const files: SourceFile[] = [];
  for (const path of paths.filter((path) => path.endsWith(".ts")).sort()) {
    const text = await Deno.readTextFile(new URL(path, ROOT));
    files.push({ path, text, imports: importsOf(path, text) });
  }
  return files;
}

/** All files below a folder of the repository, hidden ones and models left out. */
export async function pathsBelow(start: string): Promise<string[]> {
  const info = await Deno.stat(new URL(start, ROOT));
  if (info.isFile) return [start];
  const found: string[] = [];
  for await (const entry of Deno.readDir(new URL(start, ROOT))) {
    if (SKIPPED.test(entry.name)) continue;
    const path = start === "." ? entry.name : `${start}/${entry.name}`;
    if (entry.isDirectory) found.push(...await pathsBelow(path));
    else found.push(path);
  }
  return found;
}

function importsOf(path: string, text: string): string[] {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  return [...code.matchAll(SPECIFIER)].map(([, imported, entry = ""]) => {
    const specifier = imported ?? entry;
    if (!specifier.startsWith(".")) return specifier;
    return new URL(specifier, new URL(path, "file:///")).pathname.slice(1);
  });
}
