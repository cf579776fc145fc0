/**
 * Builds the CPU library, and the tests' library, which has the scalar twins of `reference/` alone.
 *
 * Every op is compiled once for each instruction set, into the namespace of that set; the exported
 * functions, memory and threads once, for any x86-64.
 *
 * @module
 */
import {
  abiUnits,
  ARCH,
  type BuildOptions,
  compileAll,
  type Library,
  link,
  OS,
  ROOT,
  sourceNames,
  type Unit,
  versionOf,
} from "./build_tools.ts";
import { digestSources } from "./digest.ts";

/** Compiled once: what does not depend on the instruction set. */
const ONCE: readonly string[] = [
  "context.cpp",
  "mapped_files.cpp",
  "memory.cpp",
  "thread_pool.cpp",
];

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
  avx512_bf16: [...AVX512, "-mavx512bf16", "-mavx512vnni"],
  amx_bf16: [
    ...AVX512,
    ...["-mavx512bf16", "-mavx512vnni", "-mamx-tile", "-mamx-bf16", "-mamx-int8"],
  ],
};

/** What is compiled besides for processors that have more than their set says. */
const VARIANTS: readonly { readonly name: string; isa: string; flags: readonly string[] }[] = [
  { name: "matmul_int8.cpp", isa: "avx2_vnni", flags: [...AVX2, "-mavxvnni"] },
  { name: "matmul_int8.cpp", isa: "avx512_vnni", flags: [...AVX512, "-mavx512vnni"] },
];

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

/** Compiles and links both libraries. */
export async function buildCpu(options: BuildOptions): Promise<Library[]> {
  const { out, jobs } = options;
  const compiler = Deno.env.get("CXX") ?? "g++";
  const sources = await digestSources(ROOT, "cpu");
  const objects = await Deno.makeTempDir({ prefix: "starx-build-" });
  try {
    const plain = [...await onceUnits(objects, false), ...await isaUnits(objects)];
    const withTwins = [...await onceUnits(objects, true), ...await twinUnits(objects)];
    await compileAll([...plain, ...withTwins], { compiler, flags: FLAGS, jobs });
    const version = await versionOf(compiler);
    const linked = { compiler, out, sources, version };
    return [
      await linkCpu(plain, { ...linked, tests: false }),
      await linkCpu(withTwins, { ...linked, tests: true }),
    ];
  } finally {
    await Deno.remove(objects, { recursive: true });
  }
}

async function linkCpu(
  units: readonly Unit[],
  options: { compiler: string; out: string; sources: string; version: string; tests: boolean },
): Promise<Library> {
  const { compiler, out, sources, version, tests } = options;
  return await link([...LINK_FLAGS, ...units.map(({ object }) => object)], {
    compiler,
    out,
    entry: {
      file: `libsx_cpu${tests ? "_tests" : ""}-${OS}-${ARCH}.so`,
      backend: "cpu",
      isa: tests ? [] : Object.keys(ISA_FLAGS),
      tests,
      sources_sha256: sources,
      compiler: version,
    },
  });
}

/** What is compiled once; `context.cpp` knows whether the twins are there. */
async function onceUnits(objects: string, twins: boolean): Promise<Unit[]> {
  const folder = `${objects}/${twins ? "tests" : "once"}`;
  await Deno.mkdir(folder);
  const flags = twins ? ["-DSX_WITH_SCALAR"] : [];
  const own = ONCE.map((name) => ({
    source: `${ROOT}/cpu/${name}`,
    object: `${folder}/${name}.o`,
    flags,
  }));
  return [...own, ...await abiUnits(folder, { backend: "cpu", flags })];
}

async function isaUnits(objects: string): Promise<Unit[]> {
  const names = (await sourceNames("cpu", ".cpp")).filter((name) => !ONCE.includes(name));
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
  for (const { name, isa, flags } of VARIANTS) {
    await Deno.mkdir(`${objects}/${isa}`);
    units.push({
      source: `${ROOT}/cpu/${name}`,
      object: `${objects}/${isa}/${name}.o`,
      flags: [`-DSX_ISA=${isa}`, ...flags],
    });
  }
  return units;
}

async function twinUnits(objects: string): Promise<Unit[]> {
  await Deno.mkdir(`${objects}/reference`);
  return (await sourceNames("reference", ".cpp")).map((name) => ({
    source: `${ROOT}/reference/${name}`,
    object: `${objects}/reference/${name}.o`,
    flags: [],
  }));
}
