import {
  CUBLAS,
  CUDART,
  type CudaSurroundings,
  findDriver,
  locateCudaLibrary,
} from "../../../lib/ffi/cuda_locate.ts";
import { DeviceError } from "../../../lib/errors.ts";
import { assertEquals, assertStringIncludes, assertThrows } from "../../helpers/assert.ts";

function surroundings(
  files: readonly string[],
  env: Readonly<Record<string, string>> = {},
): CudaSurroundings {
  const list = (folder: string) => {
    const inside = files.filter((path) => path.startsWith(`${folder}/`));
    return [...new Set(inside.map((path) => path.slice(folder.length + 1).split("/")[0] ?? ""))];
  };
  return { env: (name) => env[name], list };
}

Deno.test("locateCudaLibrary() looks where a user points first", () => {
  const files = ["/own/libcudart.so.13", "/kit/lib64/libcudart.so.13", "/ld/libcudart.so.13"];
  const all = { STARX_CUDA: "/own", CUDA_HOME: "/kit", LD_LIBRARY_PATH: "/ld" };
  assertEquals(locateCudaLibrary(CUDART, surroundings(files, all)), "/own/libcudart.so.13");
  const { STARX_CUDA: _, ...toolkit } = all;
  assertEquals(
    locateCudaLibrary(CUDART, surroundings(files, toolkit)),
    "/kit/lib64/libcudart.so.13",
  );
  const loader = { LD_LIBRARY_PATH: "/none:/ld" };
  assertEquals(locateCudaLibrary(CUDART, surroundings(files, loader)), "/ld/libcudart.so.13");
});

Deno.test("locateCudaLibrary() prefers the newer version, wherever it lies", () => {
  const files = ["/usr/local/cuda/lib64/libcublas.so.12", "/usr/lib64/libcublas.so.13"];
  assertEquals(locateCudaLibrary(CUBLAS, surroundings(files)), "/usr/lib64/libcublas.so.13");
});

Deno.test("locateCudaLibrary() finds the packages of a Python environment", () => {
  const path = "/env/lib/python3.12/site-packages/nvidia/cu13/lib/libcublas.so.13";
  const found = locateCudaLibrary(CUBLAS, surroundings([path], { VIRTUAL_ENV: "/env" }));
  assertEquals(found, path);
});

Deno.test("locateCudaLibrary() lists all places and what to install", () => {
  const error = assertThrows(
    () => locateCudaLibrary(CUDART, surroundings([], { CUDA_PATH: "/kit" })),
    DeviceError,
    "Cannot find libcudart.so.13 as one of these folders must hold it: /kit/lib64, ",
  );
  assertStringIncludes(error.message, "pip: nvidia-cuda-runtime");
  assertStringIncludes(error.message, "STARX_CUDA");
});

Deno.test("findDriver() finds the driver's library, if there is one", () => {
  const path = "/usr/lib/wsl/lib/libcuda.so.1";
  assertEquals(findDriver(surroundings([path])), path);
  assertEquals(findDriver(surroundings(["/usr/lib64/libcudart.so.13"])), undefined);
});
