/**
 * Builds the CUDA library with nvcc.
 *
 * Every file is compiled for each generic architecture, and to PTX for GPUs that come later; files
 * named `_sm90` only for Hopper's own instructions, which other GPUs lack.
 *
 * The CUDA runtime is linked statically. The program opens a runtime of its own by FFI and gives this
 * library a stream of it: both runtimes work on the device's one primary context, and a stream is the
 * driver's in either, so that they may differ in version. A shared one would have to be found by the
 * dynamic loader, in whatever folder it lies (a Python package's, as a rule). The runtime's symbols
 * are hidden, so that the two never mix.
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
  versionOf,
} from "./build_tools.ts";
import { digestSources } from "./digest.ts";

/** Ampere, its small siblings, Ada, Hopper. */
export const GENERIC_ARCHITECTURES: readonly string[] = ["80", "86", "89", "90"];

const FLAGS: readonly string[] = [
  "-std=c++17",
  "-O3",
  // A fifth of the size; a kernel is unpacked when it is first used.
  "--compress-mode=size",
  "-Xcompiler=-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-rtti,-Wall",
];

const LINK_FLAGS: readonly string[] = [
  "-shared",
  "-cudart=static",
  "-Xcompiler=-static-libstdc++,-static-libgcc",
  "-Xlinker=--gc-sections,--exclude-libs=ALL,--build-id=none,-z,defs,-s",
];

/** Compiles and links the library. @param options `architectures`: generic ones, for example `90`. */
export async function buildCuda(
  options: BuildOptions & { readonly architectures: readonly string[] },
): Promise<Library[]> {
  const { out, jobs, architectures } = options;
  const compiler = Deno.env.get("NVCC") ?? "nvcc";
  const sources = await digestSources(ROOT, "cuda");
  const objects = await Deno.makeTempDir({ prefix: "starx-build-" });
  try {
    const own = (await sourceNames("cuda", ".cu")).map((name) => ({
      source: `${ROOT}/cuda/${name}`,
      object: `${objects}/${name}.o`,
      flags: /_sm90\.cu$/.test(name) ? hopperFlags() : genericFlags(architectures),
    }));
    const units = [...own, ...await abiUnits(objects, { backend: "cuda", flags: [] })];
    await compileAll(units, { compiler, flags: FLAGS, jobs });
    const library = await link([...LINK_FLAGS, ...units.map(({ object }) => object)], {
      compiler,
      out,
      entry: {
        file: `libsx_cuda-${OS}-${ARCH}.so`,
        backend: "cuda",
        isa: [...architectures.map((number) => `sm_${number}`), "sm_90a", `ptx_${newest(options)}`],
        tests: false,
        sources_sha256: sources,
        compiler: await versionOf(compiler),
      },
    });
    return [library];
  } finally {
    await Deno.remove(objects, { recursive: true });
  }
}

function newest(options: { readonly architectures: readonly string[] }): string {
  return options.architectures.at(-1) ?? "90";
}

function genericFlags(architectures: readonly string[]): string[] {
  const last = newest({ architectures });
  return [
    ...architectures.map((number) => `-gencode=arch=compute_${number},code=sm_${number}`),
    `-gencode=arch=compute_${last},code=compute_${last}`,
  ];
}

function hopperFlags(): string[] {
  return ["-gencode=arch=compute_90a,code=sm_90a"];
}
