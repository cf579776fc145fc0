/**
 * Builds the kernel libraries and the manifest that names them: `deno task build:cpu`.
 *
 * Every op is compiled once for each instruction set, into the namespace of that set; the exported
 * functions, memory and threads once, for any x86-64. The tests' library has the scalar twins of
 * `reference/` as well. A library replaces an older one only when it is whole.
 *
 * @module
 */
import { basename, dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { ABI_VERSION } from "../lib/ffi/symbols.ts";
import { errorText } from "../lib/errors.ts";
import { digestSources } from "./digest.ts";

const ROOT = dirname(fileURLToPath(import.meta.url));
const OS = "linux";
const ARCH = "x86_64";

/** Compiled once: what does not depend on the instruction set. */
const ONCE: readonly string[] = ["abi.cpp", "abi_attention.cpp", "memory.cpp", "thread_pool.cpp"];

/** The compiler's flags of each instruction set. */
const AVX2 = ["-mavx2", "-mfma", "-mf16c", "-mtune=znver3"];
const AVX512 = [
  "-mavx2",
  "-mfma",
  "-mf16c",
  "-mavx512f",
  "-mavx512bw",
  "-mavx512dq",
  "-mavx512vl",
  "-mprefer-vector-width=512",
];
const ISA_FLAGS: Readonly<Record<string, readonly string[]>> = {
  avx2: AVX2,
  avx512: AVX512,
  avx512_bf16: [...AVX512, "-mavx512bf16"],
};

const FLAGS: readonly string[] = [
  "-std=c++17",
  "-O3",
  "-g0",
  "-fPIC",
  "-fvisibility=hidden",
  "-fno-exceptions",
  "-fno-rtti",
  "-fno-math-errno",
  "-fno-trapping-math",
  "-fno-semantic-interposition",
  "-Wall",
  "-Wextra",
  `-ffile-prefix-map=${ROOT}=kernels`,
];

const LINK_FLAGS: readonly string[] = [
  "-shared",
  "-static-libstdc++",
  "-static-libgcc",
  "-Wl,--gc-sections",
  "-Wl,--exclude-libs,ALL",
  "-Wl,--build-id=none",
  "-Wl,-z,defs",
  "-s",
  "-pthread",
];

/** One call of the compiler. */
interface Unit {
  readonly source: string;
  readonly object: string;
  readonly flags: readonly string[];
}

/** An entry of the manifest; `lib/ffi/manifest.ts` reads it. */
interface Library {
  readonly file: string;
  readonly backend: "cpu";
  readonly os: string;
  readonly arch: string;
  readonly isa: readonly string[];
  readonly tests: boolean;
  readonly bytes: number;
  readonly sha256: string;
  readonly compiler: string;
}

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs the command line. @returns The exit code. */
async function main(args: string[]): Promise<number> {
  const encoder = new TextEncoder();
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: { out: { type: "string" }, jobs: { type: "string" } },
    });
    if (positionals.length !== 1 || positionals[0] !== "cpu") {
      throw new TypeError(
        `Cannot build as the target must be 'cpu': current value is ${positionals.join(" ")}`,
      );
    }
    const out = resolve(values.out ?? `${ROOT}/prebuilt`);
    const jobs = Math.max(1, Number(values.jobs ?? navigator.hardwareConcurrency) || 1);
    const libraries = await buildCpu({ out, jobs });
    for (const { file, bytes, sha256 } of libraries) {
      await Deno.stdout.write(encoder.encode(`${out}/${file}  ${bytes} bytes  ${sha256}\n`));
    }
    return 0;
  } catch (error) {
    await Deno.stderr.write(encoder.encode(`${errorText(error)}\n`));
    return 1;
  }
}

/** Compiles and links both libraries and writes the manifest. */
async function buildCpu(options: { out: string; jobs: number }): Promise<Library[]> {
  const { out, jobs } = options;
  const compiler = Deno.env.get("CXX") ?? "g++";
  const sources = await digestSources(ROOT, ["cpu", "reference"]);
  const objects = await Deno.makeTempDir({ prefix: "starx-build-" });
  try {
    const plain = [...await onceUnits(objects, false), ...await isaUnits(objects)];
    const withTwins = [...await onceUnits(objects, true), ...await twinUnits(objects)];
    await compileAll([...plain, ...withTwins], { compiler, jobs });
    await Deno.mkdir(out, { recursive: true });
    const version = await versionOf(compiler);
    const shared = plain.filter(({ flags }) => flags.some((flag) => flag.startsWith("-DSX_ISA")));
    const libraries = [
      await link(plain, { compiler, out, tests: false, version }),
      await link([...withTwins, ...shared], { compiler, out, tests: true, version }),
    ];
    const manifest = { abi: ABI_VERSION, sources_sha256: sources, libraries };
    await replaceFile(`${out}/MANIFEST.json`, `${JSON.stringify(manifest, null, 2)}\n`);
    return libraries;
  } finally {
    await Deno.remove(objects, { recursive: true });
  }
}

/** What is compiled once; `abi.cpp` knows whether the twins are there. */
async function onceUnits(objects: string, twins: boolean): Promise<Unit[]> {
  const folder = `${objects}/${twins ? "tests" : "once"}`;
  await Deno.mkdir(folder);
  const flags = twins ? ["-DSX_WITH_SCALAR"] : [];
  return ONCE.map((name) => ({
    source: `${ROOT}/cpu/${name}`,
    object: `${folder}/${name}.o`,
    flags,
  }));
}

async function isaUnits(objects: string): Promise<Unit[]> {
  const names = (await sourceNames("cpu")).filter((name) => !ONCE.includes(name));
  const units: Unit[] = [];
  for (const [isa, flags] of Object.entries(ISA_FLAGS)) {
    await Deno.mkdir(`${objects}/${isa}`);
    for (const name of names) {
      units.push({
        source: `${ROOT}/cpu/${name}`,
        object: `${objects}/${isa}/${name}.o`,
        flags: [`-DSX_ISA=${isa}`, ...flags],
      });
    }
  }
  return units;
}

async function twinUnits(objects: string): Promise<Unit[]> {
  await Deno.mkdir(`${objects}/reference`);
  return (await sourceNames("reference")).map((name) => ({
    source: `${ROOT}/reference/${name}`,
    object: `${objects}/reference/${name}.o`,
    flags: [],
  }));
}

async function sourceNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name } of Deno.readDir(`${ROOT}/${folder}`)) {
    if (name.endsWith(".cpp")) names.push(name);
  }
  return names.sort();
}

/** Compiles, a few files at a time. */
async function compileAll(
  units: readonly Unit[],
  options: { compiler: string; jobs: number },
): Promise<void> {
  const waiting = [...units];
  const work = async (): Promise<void> => {
    for (let unit = waiting.shift(); unit !== undefined; unit = waiting.shift()) {
      await run(options.compiler, [
        ...FLAGS,
        ...unit.flags,
        "-c",
        unit.source,
        "-o",
        unit.object,
      ]);
    }
  };
  await Promise.all(Array.from({ length: options.jobs }, work));
}

async function link(
  units: readonly Unit[],
  options: { compiler: string; out: string; tests: boolean; version: string },
): Promise<Library> {
  const { compiler, out, tests, version } = options;
  const file = `libsx_cpu${tests ? "_tests" : ""}-${OS}-${ARCH}.so`;
  const temporary = `${out}/.${file}.${Deno.pid}.tmp`;
  await run(compiler, [...LINK_FLAGS, "-o", temporary, ...units.map(({ object }) => object)]);
  const content = await Deno.readFile(temporary);
  await Deno.rename(temporary, `${out}/${file}`);
  return {
    file,
    backend: "cpu",
    os: OS,
    arch: ARCH,
    isa: Object.keys(ISA_FLAGS),
    tests,
    bytes: content.length,
    sha256: new Uint8Array(await crypto.subtle.digest("SHA-256", content)).toHex(),
    compiler: version,
  };
}

async function versionOf(compiler: string): Promise<string> {
  const text = await run(compiler, ["--version"]);
  return text.split("\n")[0]?.trim() ?? compiler;
}

/** Runs a tool. @returns Its standard output. @throws {Error} If it fails; the message has why. */
async function run(tool: string, args: readonly string[]): Promise<string> {
  const decoder = new TextDecoder();
  let output: Deno.CommandOutput;
  try {
    output = await new Deno.Command(tool, { args: [...args] }).output();
  } catch (error) {
    throw new Error(`Cannot run ${tool}: ${errorText(error)}`, { cause: error });
  }
  if (!output.success) {
    const what = args.find((arg) => arg.endsWith(".cpp")) ?? "the library";
    const name = basename(what);
    throw new Error(`Cannot build ${name}: ${tool} says\n${decoder.decode(output.stderr).trim()}`);
  }
  return decoder.decode(output.stdout);
}

async function replaceFile(path: string, text: string): Promise<void> {
  const temporary = `${path}.${Deno.pid}.tmp`;
  await Deno.writeTextFile(temporary, text);
  await Deno.rename(temporary, path);
}
