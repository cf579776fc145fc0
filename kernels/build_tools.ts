/**
 * What the builds of all kernel libraries share: running tools, compiling a few files at a time, and
 * the manifest, in which a build replaces its own libraries and keeps the others.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { ABI_VERSION } from "../lib/ffi/symbols.ts";
import { errorText } from "../lib/errors.ts";

/** The folder `kernels`. */
export const ROOT = dirname(fileURLToPath(import.meta.url));
export const OS = "linux";
export const ARCH = "x86_64";

/** One call of a compiler. */
export interface Unit {
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
}

/** An entry of the manifest; `lib/ffi/manifest.ts` reads it. */
export interface Library {
  readonly file: string;
  readonly backend: string;
  readonly os: string;
  readonly arch: string;
  /** Instruction sets of a CPU, or architectures of a GPU. */
  readonly isa: readonly string[];
  readonly tests: boolean;
  /** Digest of the sources that it is built from. */
  readonly sources_sha256: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly compiler: string;
}

/** Where a build writes, and how much it does at once. */
export interface BuildOptions {
  readonly out: string;
  readonly jobs: number;
}

/** The names of a folder's sources of one suffix, sorted. */
export async function sourceNames(folder: string, suffix: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}/${folder}`)) {
    if (name.endsWith(suffix)) names.push(name);
  }
  return names.sort();
}

/** The exported functions, which every library has: compiled with the `backend.h` of its folder. */
export async function abiUnits(
  objects: string,
  options: { readonly backend: "cpu" | "cuda"; readonly flags: readonly string[] },
): Promise<Unit[]> {
  const { backend, flags } = options;
  return (await sourceNames("abi", ".cpp")).map((name) => ({
    source: `${ROOT}/abi/${name}`,
    object: `${objects}/abi_${name}.o`,
    flags: [`-I${ROOT}/${backend}`, ...flags],
  }));
}

/** Compiles, a few files at a time. */
export async function compileAll(
  units: readonly Unit[],
  options: { compiler: string; flags: readonly string[]; jobs: number },
): Promise<void> {
  const { compiler, flags, jobs } = options;
  const waiting = [...units];
  const work = async (): Promise<void> => {
    for (let unit = waiting.shift(); unit !== undefined; unit = waiting.shift()) {
      await run(compiler, [...flags, ...unit.flags, "-c", unit.source, "-o", unit.object]);
    }
  };
  await Promise.all(Array.from({ length: jobs }, work));
}

/**
 * Links a library; one that is there is replaced only when the new one is whole.
 *
 * @param args The linker's arguments but the output. @param entry What the manifest is to say.
 */
export async function link(
  args: readonly string[],
  options: {
    readonly compiler: string;
    readonly out: string;
    readonly entry: Omit<Library, "os" | "arch" | "bytes" | "sha256">;
  },
): Promise<Library> {
  const { compiler, out, entry } = options;
  const temporary = `${out}/.${entry.file}.${Deno.pid}.tmp`;
  await run(compiler, [...args, "-o", temporary]);
  const content = await Deno.readFile(temporary);
  await Deno.rename(temporary, `${out}/${entry.file}`);
  const { file, backend, isa, tests, sources_sha256, compiler: version } = entry;
  return {
    file,
    backend,
    os: OS,
    arch: ARCH,
    isa,
    tests,
    sources_sha256,
    bytes: content.length,
    sha256: new Uint8Array(await crypto.subtle.digest("SHA-256", content)).toHex(),
    compiler: version,
  };
}

/** The line of a tool's `--version` that has its version. */
export async function versionOf(tool: string): Promise<string> {
  const lines = (await run(tool, ["--version"])).split("\n");
  return (lines.find((line) => /\bV?\d+\.\d+\.\d+/.test(line)) ?? tool).trim();
}

/** Runs a tool. @returns Its standard output. @throws {Error} If it fails; the message has why. */
export async function run(tool: string, args: readonly string[]): Promise<string> {
  const decoder = new TextDecoder();
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(tool, { args: [...args] }).output();
  } catch (error) {
    throw new Error(`Cannot run ${tool}: ${errorText(error)}`, { cause: error });
  }
  if (!output.success) {
    const what = args.find((arg) => /\.(cpp|cu)$/.test(arg)) ?? "the library";
    const name = basename(what);
    throw new Error(`Cannot build ${name}: ${tool} says\n${decoder.decode(output.stderr).trim()}`);
  }
  return decoder.decode(output.stdout);
}

/** Writes the manifest of a folder: a backend's new libraries, and the others as they were. */
export async function updateManifest(
  out: string,
  options: { readonly backend: string; readonly libraries: readonly Library[] },
): Promise<void> {
  const { backend, libraries } = options;
  const path = `${out}/MANIFEST.json`;
  const others = (await presentLibraries(path)).filter((library) => library.backend !== backend);
  const all = [...others, ...libraries].sort((a, b) => a.file < b.file ? -1 : 1);
  const manifest = { abi: ABI_VERSION, libraries: all };
  const temporary = `${path}.${Deno.pid}.tmp`;
  await Deno.writeTextFile(temporary, `${JSON.stringify(manifest, null, 2)}\n`);
  await Deno.rename(temporary, path);
}

/** The libraries of a manifest that was written by this program; none if there is no manifest. */
async function presentLibraries(path: string): Promise<Library[]> {
  try {
    return JSON.parse(await Deno.readTextFile(path)).libraries as Library[];
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}
