/**
 * Builds the fake GPU of `tests/helpers/fake_gpu`: a CUDA runtime, cuBLAS, cuBLASLt and a kernel library that
 * compute on the CPU, and a manifest beside them. A run finds them by STARX_CUDA and STARX_KERNELS.
 *
 * @module
 */
import { chooseLibrary } from "../../lib/ffi/manifest.ts";
import { kernelFolder, readManifest } from "../../lib/ffi/locate.ts";
import { ABI_VERSION } from "../../lib/ffi/symbols.ts";
import { headerText, type Leaf, leavesOf, parseHeader } from "../../kernels/header.ts";
import { assert } from "./assert.ts";

const SOURCES = new URL("fake_gpu/", import.meta.url).pathname;
const KERNELS = new URL("../../kernels/", import.meta.url).pathname;

/** What lies in the place of NCCL where none is faked: found first, and refused by the loader. */
const NO_NCCL = "not a library";

/** The folder of the built libraries, or undefined without a compiler; removed with the process. */
export async function buildFakeGpu(): Promise<string | undefined> {
  const folder = await Deno.makeTempDir({ prefix: "fake-gpu-" });
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const prebuilt = kernelFolder();
  const manifest = await readManifest(new URL("MANIFEST.json", prebuilt));
  const cpu = chooseLibrary(manifest, { backend: "cpu", tests: false });
  await Deno.copyFile(new URL(cpu.file, prebuilt), `${folder}/${cpu.file}`);
  const source = `${folder}/kernels.c`;
  const ops = opSources(headerText());
  await Deno.writeTextFile(source, `#include "${SOURCES}kernels.c"\n${ops}`);
  const links = ["-L", folder, "-l:libcudart.so.13", "-Wl,-rpath,$ORIGIN", "-ldl"];
  const library = [`-DCPU_LIBRARY="${cpu.file}"`, "-I", KERNELS];
  const file = "libsx_cuda-fake.so";
  try {
    // Test files share a process: the loader must not take another file's runtime for this one's.
    const soname = `libcudart-${crypto.randomUUID()}.so`;
    const runtime = [`${SOURCES}cudart.c`, `-Wl,-soname,${soname}`];
    await compile(runtime, `${folder}/libcudart.so.13`);
    await Deno.symlink("libcudart.so.13", `${folder}/${soname}`);
    await compile([...library, `${SOURCES}cublas.c`, ...links], `${folder}/libcublas.so.13`);
    await compile([...library, `${SOURCES}cublaslt.c`, ...links], `${folder}/libcublasLt.so.13`);
    await compile([...library, "-I", SOURCES, source, ...links], `${folder}/${file}`);
    // The one library that is not faked here: a machine's own would work on the fake's memory.
    await Deno.writeTextFile(`${folder}/libnccl.so.2`, NO_NCCL);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  const bytes = await Deno.readFile(`${folder}/${file}`);
  const sha256 = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  const { os, arch } = Deno.build;
  const cuda = { file, backend: "cuda", os, arch, tests: false, bytes: bytes.length, sha256 };
  const { sourcesSha256: sources_sha256 } = cpu;
  const libraries = [cpu, cuda].map((entry) => ({ ...entry, sources_sha256 }));
  const text = JSON.stringify({ abi: ABI_VERSION, libraries });
  await Deno.writeTextFile(`${folder}/MANIFEST.json`, text);
  return folder;
}

/**
 * Builds the fake NCCL beside the fake GPU.
 *
 * @returns What STARX_CUDA has to be for both.
 */
export async function addFakeNccl(folder: string): Promise<string> {
  const own = `${folder}/nccl`;
  await Deno.mkdir(own, { recursive: true });
  const links = ["-L", folder, "-l:libcudart.so.13", `-Wl,-rpath,${folder}`];
  await compile([`${SOURCES}nccl.c`, ...links], `${own}/libnccl.so.2`);
  // In front of what stands for a missing one.
  return `${own}:${folder}`;
}

/**
 * Runs with the fake GPU's libraries.
 *
 * @param settings Environment variables that `cudart.c` reads.
 */
export async function withFakeGpu(
  folder: string | undefined,
  run: () => Promise<void>,
  settings: Readonly<Record<string, string>> = {},
): Promise<void> {
  const place = folder ?? "";
  const values: Record<string, string> = { STARX_CUDA: place, STARX_KERNELS: place, ...settings };
  const before = Object.keys(values).map((name) => [name, Deno.env.get(name)] as const);
  for (const [name, value] of Object.entries(values)) Deno.env.set(name, value);
  try {
    await run();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

async function compile(args: readonly string[], out: string): Promise<void> {
  const flags = ["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"];
  const command = new Deno.Command("gcc", { args: [...flags, "-o", out, ...args] });
  const { success, stderr } = await command.output();
  assert(success, new TextDecoder().decode(stderr));
}

/** An exported function per op that puts the CPU's op of that name into the stream. */
function opSources(text: string): string {
  const header = parseHeader(text);
  return [...header.ops].map(([name, struct]) =>
    opSource(name, { struct, leaves: leavesOf(header, struct) })
  ).join("\n");
}

/** Where memory of a pointer is: of a segment of keys its last row, as the first ones may be gone. */
function placeOf(path: string): string {
  const segment = /^((?:.*\.)?kv\.)(prefix_)?(?:keys|values)$/.exec(path);
  const pointer = `params->${path}`;
  if (segment === null) return pointer;
  const [, kv = "", prefix = ""] = segment;
  const tokens = `params->${kv}${prefix === "" ? "key_" : prefix}tokens`;
  const elements = `(${tokens} - 1) * params->${kv}${prefix}token_stride`;
  const bytes = `(params->${kv}dtype == SX_F32 ? 4 : 2)`;
  return `${tokens} > 0 ? (const char*)${pointer} + ${elements} * ${bytes} : NULL`;
}

function opSource(
  name: string,
  of: { readonly struct: string; readonly leaves: readonly Leaf[] },
): string {
  const fields = of.leaves.map(({ path, kind }) => ({ path: path.join("."), kind }));
  const pathOf = (field: string): string | undefined =>
    fields.find(({ path }) => path === field || path.endsWith(`.${field}`))?.path;
  const dtype = pathOf("q_dtype");
  // RoPE writes queries, which the CPU can do in bf16, too.
  const q = pathOf("q");
  const takesQueries = dtype !== undefined && q !== undefined;
  const extents = ["sequences", "q_tokens", "q_heads", "head_dim"].map(pathOf)
    .flatMap((path) => path === undefined ? [] : [`p.${path}`]).join(" * ");
  const queries = `
  if (p.${dtype} != SX_BF16) return report("${name}", a->context, SX_UNSUPPORTED);
  float* q = widened(p.${q}, ${extents});
  p.${q} = q;
  p.${dtype} = SX_F32;`;
  // The means of a prefill's tiles are f32 on a CPU; the last tile's are not read.
  const takesMeans = takesQueries && pathOf("mean_dtype") !== undefined &&
    pathOf("q_offset") !== undefined;
  const tiles = "((p.q_offset + p.q_tokens + SX_TILE - 1) / SX_TILE - 1)";
  const meanCount = `(p.kv_heads - 1) * p.mean_head_stride + ${tiles} * p.head_dim`;
  const means = `
  if (p.mean_dtype != SX_BF16) return report("${name}", a->context, SX_UNSUPPORTED);
  float* mean_keys = widened(p.mean_keys, ${meanCount});
  float* mean_values = widened(p.mean_values, ${meanCount});
  p.mean_keys = mean_keys;
  p.mean_values = mean_values;
  p.mean_dtype = SX_F32;`;
  const foreign = fields.filter(({ kind }) => kind === "pointer")
    .map(({ path }) => `fake_is_foreign(context->stream, ${placeOf(path)})`).join(" || ");
  return `
struct ${name}_call { sx_context* context; ${of.struct} params; };
static int run_${name}(void* call) {
  struct ${name}_call* a = call;
  ${of.struct} p = a->params;${takesQueries ? queries : ""}${takesMeans ? means : ""}
  sx_status (*op)(sx_context*, const ${of.struct}*) = cpu("${name}");
  const sx_status status = op(a->context->cpu, &p);
  ${takesQueries ? "free(q);" : ""}
  ${takesMeans ? "free(mean_keys);\n  free(mean_values);" : ""}
  return report("${name}", a->context, status);
}
__attribute__((visibility("default"))) sx_status ${name}(sx_context* context,
                                                         const ${of.struct}* params) {
  if (context == NULL || params == NULL) return SX_INVALID_ARGUMENT;
  const struct ${name}_call call = {context, *params};
  if (cudaSetDevice(context->device) != CUDA_OK || ${foreign}) return SX_DEVICE_ERROR;
  return fake_submit(context->stream, run_${name}, &call, sizeof call) == 0 ? SX_OK
                                                                            : SX_DEVICE_ERROR;
}`;
}
