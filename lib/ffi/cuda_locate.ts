/**
 * Finds NVIDIA's libraries: in places that a user names, then where toolkits and packages put them.
 *
 * @module
 */
import { environmentVariable } from "../environment.ts";
import { DeviceError } from "../errors.ts";

/** A library of the CUDA toolkit, and how its absence is mended. */
export interface CudaLibraryName {
  /** For example `cudart`. */
  readonly name: string;
  /** The major versions whose interface is the one that is called here, the best first. */
  readonly versions: readonly string[];
  /** The packages of pip and of Debian-like systems that hold it. */
  readonly packages: string;
}

/** The CUDA runtime. */
export const CUDART: CudaLibraryName = {
  name: "cudart",
  versions: ["13", "12"],
  packages: "pip: nvidia-cuda-runtime; apt: cuda-cudart-13-0",
};

/** Linear algebra. */
export const CUBLAS: CudaLibraryName = {
  name: "cublas",
  versions: ["13", "12"],
  packages: "pip: nvidia-cublas; apt: libcublas-13-0",
};

/** Products whose factors have scales; it lies beside the other one. */
export const CUBLAS_LT: CudaLibraryName = { ...CUBLAS, name: "cublasLt" };

/** Exchanges between GPUs. */
export const NCCL: CudaLibraryName = {
  name: "nccl",
  versions: ["2"],
  packages: "pip: nvidia-nccl-cu13; apt: libnccl2",
};

/** What the search looks at; by default this process's surroundings. */
export interface CudaSurroundings {
  /** Environment variables. */
  readonly env: (name: string) => string | undefined;
  /** The names in a folder; none if it is missing. */
  readonly list: (folder: string) => readonly string[];
}

const SURROUNDINGS: CudaSurroundings = {
  // A program that may not look at a variable searches the other places.
  env: environmentVariable,
  list: (folder) => {
    try {
      return Array.from(Deno.readDirSync(folder), ({ name }) => name);
    } catch {
      // A folder that is missing, or that may not be read, holds nothing for this program.
      return [];
    }
  },
};

/**
 * The path of a library. The order: the folder in STARX_CUDA; CUDA_HOME and CUDA_PATH;
 * LD_LIBRARY_PATH; the usual folders; the nvidia packages of a Python environment.
 *
 * @throws {DeviceError} If it is nowhere; the message lists every folder and what to install.
 */
export function locateCudaLibrary(
  library: CudaLibraryName,
  surroundings: CudaSurroundings = SURROUNDINGS,
): string {
  const folders = [...new Set(searchFolders(surroundings))];
  const names = [
    ...library.versions.map((version) => `lib${library.name}.so.${version}`),
    `lib${library.name}.so`,
  ];
  for (const name of names) {
    for (const folder of folders) {
      if (surroundings.list(folder).includes(name)) return `${folder}/${name}`;
    }
  }
  throw new DeviceError(
    `Cannot find ${names[0]} as one of these folders must hold it: ${folders.join(", ")}; ` +
      `install it (${library.packages}) or name its folder in STARX_CUDA`,
  );
}

/** Where the NVIDIA driver's library lies; undefined without a driver. */
export function findDriver(surroundings: CudaSurroundings = SURROUNDINGS): string | undefined {
  const name = "libcuda.so.1";
  const folder = searchFolders(surroundings).find((folder) =>
    surroundings.list(folder).includes(name)
  );
  return folder === undefined ? undefined : `${folder}/${name}`;
}

function searchFolders(surroundings: CudaSurroundings): string[] {
  const { env, list } = surroundings;
  const given = (name: string): string[] => (env(name) ?? "").split(":").filter((f) => f !== "");
  const toolkits = [...given("CUDA_HOME"), ...given("CUDA_PATH")];
  const installed = list("/usr/local").filter((name) => /^cuda(-[\d.]+)?$/.test(name))
    .sort().reverse().map((name) => `/usr/local/${name}`);
  return [
    ...given("STARX_CUDA"),
    ...toolkits.flatMap(toolkitFolders),
    ...given("LD_LIBRARY_PATH"),
    ...[...installed, "/opt/cuda"].flatMap(toolkitFolders),
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/lib/wsl/lib",
    "/usr/local/nvidia/lib64",
    ...pythonFolders(surroundings),
  ];
}

function toolkitFolders(root: string): string[] {
  return [`${root}/lib64`, `${root}/targets/x86_64-linux/lib`, `${root}/lib`];
}

/** `nvidia/<package>/lib` of Python environments. */
function pythonFolders({ env, list }: CudaSurroundings): string[] {
  const roots = [env("VIRTUAL_ENV"), env("CONDA_PREFIX"), "/usr", "/usr/local", "/opt/venv"];
  const home = env("HOME");
  if (home !== undefined) roots.push(`${home}/.local`);
  return roots.flatMap((root) => {
    if (root === undefined || root === "") return [];
    const versions = list(`${root}/lib`).filter((name) => /^python3/.test(name));
    return versions.flatMap((version) =>
      ["site-packages", "dist-packages"].flatMap((packages) => {
        const folder = `${root}/lib/${version}/${packages}/nvidia`;
        return list(folder).map((name) => `${folder}/${name}/lib`);
      })
    );
  });
}
