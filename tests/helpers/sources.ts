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
  /** Those of `imports` that it starts as a worker or a process: these are no parts of it. */
  readonly started: readonly string[];
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
    files.push({ path, text, ...importsOf(path, text) });
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

/**
 * The circles of files that import each other, types as well as values: each is named by the way
 * around it, from the file that comes first by name.
 */
export function importCircles(files: readonly SourceFile[]): string[] {
  const edges = new Map(files.map(({ path, imports, started }) => [
    path,
    imports.filter((other) => !started.includes(other)),
  ]));
  const circles: string[] = [];
  const inCircle = new Set<string>();
  for (const { path } of files) {
    if (inCircle.has(path)) continue;
    const way = wayBack(path, edges);
    if (way === undefined) continue;
    for (const step of way) inCircle.add(step);
    circles.push([...way, path].join(" -> "));
  }
  return circles;
}

/** The shortest way from a file over its imports to itself, without its end. */
function wayBack(
  start: string,
  edges: ReadonlyMap<string, readonly string[]>,
): string[] | undefined {
  const before = new Map<string, string>();
  for (const queue = [start]; queue.length > 0;) {
    const path = queue.shift() ?? start;
    for (const next of edges.get(path) ?? []) {
      if (next === start) {
        const way = [path];
        for (let step = before.get(path); step !== undefined; step = before.get(step)) {
          way.unshift(step);
        }
        return way;
      }
      if (before.has(next)) continue;
      before.set(next, path);
      queue.push(next);
    }
  }
  return undefined;
}

function importsOf(path: string, text: string): Pick<SourceFile, "imports" | "started"> {
  const code = text.replace(/\/\*[\s\S]*?\*\//g, "");
  const imports: string[] = [];
  const started: string[] = [];
  for (const [, imported, entry = ""] of code.matchAll(SPECIFIER)) {
    const specifier = imported ?? entry;
    const resolved = specifier.startsWith(".")
      ? new URL(specifier, new URL(path, "file:///")).pathname.slice(1)
      : specifier;
    imports.push(resolved);
    if (imported === undefined) started.push(resolved);
  }
  return { imports, started };
}
