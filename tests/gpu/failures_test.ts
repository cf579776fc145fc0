/**
 * What goes wrong on a real GPU: memory that is not there or that another process holds, a damaged
 * kernel library, two processes at once.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { AssertionError } from "node:assert";
import { openCudaDevice } from "../../lib/device/cuda.ts";
import type { Device } from "../../lib/device/device.ts";
import { Tensor } from "../../lib/device/tensor.ts";
import { EXIT_CODES, KernelError } from "../../lib/errors.ts";
import { kernelFolder, readManifest } from "../../lib/ffi/locate.ts";
import { chooseLibrary } from "../../lib/ffi/manifest.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "../helpers/assert.ts";
import { HAS_GPU } from "../helpers/device.ts";
import { inFolder } from "../helpers/folder.ts";
import { goldenRequest, openTiny, STAR } from "../helpers/prompts.ts";
import { ROOT } from "../helpers/sources.ts";

const GIB = 2 ** 30;
const BENCH = ["bench", "--device", "cuda", "--shape", "llama-3.1-8b", "-a", "dense"];

function gpuTest(name: string, fn: () => Promise<void>): void {
  Deno.test({ name, ignore: !HAS_GPU, fn });
}

/** Runs the command line with this process's environment and some variables more. */
async function starx(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stderr: string }> {
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "-A", fileURLToPath(new URL("cli.ts", ROOT)), ...args],
    env: { NO_COLOR: "1", ...env },
  }).output();
  return { code, stderr: new TextDecoder().decode(stderr) };
}

gpuTest("more memory than there is on a GPU is refused, and the device goes on", async () => {
  using device = await openCudaDevice();
  const shape = [2 ** 20, 2 ** 20];
  const ask = () => Tensor.allocate(device, { dtype: "f32", shape, label: "much" });
  const error = assertThrows(ask, KernelError, "'much'");
  assertEquals(error.status, "SX_OUT_OF_MEMORY");
  using tensor = Tensor.allocate(device, { dtype: "i32", shape: [4], label: "little" });
  await tensor.writeFrom(Int32Array.of(1, 2, 3, 4));
  assertEquals([...await tensor.toInts()], [1, 2, 3, 4]);
});

gpuTest("a context that will not fit on a GPU is refused with what would", async () => {
  const { code, stderr } = await starx([...BENCH, "-l", "8000000"]);
  assertEquals(code, EXIT_CODES.device);
  assertMatch(stderr, /Cannot run 80000\d\d tokens on cuda:0 .* as [\d.]+ GiB .* must be free/);
  assertMatch(stderr, /current value is [\d.]+ GiB; .*tokens fit/);
});

/** What a run of the model is left, and what its weights alone need. */
const LEFT_BYTES = 8 * GIB;
const WEIGHTS_GIB = 14;

/** Takes what is free on a device but for LEFT_BYTES, unless another process is faster. */
function holdRest(device: Device, held: DisposableStack): void {
  const elements = Math.floor(((device.freeBytes ?? 0) - LEFT_BYTES) / 4);
  if (elements < 1) return;
  try {
    held.use(Tensor.allocate(device, { dtype: "i32", shape: [elements], label: "held" }));
  } catch (error) {
    if (!(error instanceof KernelError)) throw error;
  }
}

gpuTest("memory on a GPU that another process holds is not counted as free", async () => {
  using device = await openCudaDevice();
  using held = new DisposableStack();
  // With a second GPU the model would be spread over both.
  const [first = "0"] = (Deno.env.get("CUDA_VISIBLE_DEVICES") ?? "0").split(",");
  const said: string[] = [];
  // Other processes may give memory back, or take what is left, while the run looks at it.
  for (let attempt = 0; attempt < 5; attempt++) {
    holdRest(device, held);
    const { code, stderr } = await starx([...BENCH, "-l", "1024"], { CUDA_VISIBLE_DEVICES: first });
    const free = /must be free \(weights 14\.\d+ GiB, .*\): current value is (\d+\.\d+) GiB/
      .exec(stderr)?.[1];
    if (free !== undefined) {
      assertEquals(code, EXIT_CODES.device);
      assert(Number(free) < WEIGHTS_GIB, stderr);
      return;
    }
    said.push(`exit code ${code}: ${stderr}`);
  }
  throw new AssertionError({ message: `no run saw memory that was held:\n${said.join("\n")}` });
});

gpuTest("two processes on a GPU at once give the ids of one", async () => {
  const request = await goldenRequest({ task: "vt" });
  const run = async (processCount: number): Promise<readonly number[]> => {
    await using engine = await openTiny({ plan: STAR, processCount, device: "cuda" });
    return (await engine.generate(request)).ids;
  };
  const alone = await run(1);
  // Two engines of two processes each, and this process besides.
  const together = await Promise.all([run(2), run(2), run(1)]);
  for (const ids of together) assertEquals(ids, alone);
});

gpuTest("a damaged kernel library is refused on a GPU before it is loaded", async () => {
  await inFolder({}, async (folder) => {
    const prebuilt = kernelFolder();
    const manifest = await readManifest(new URL("MANIFEST.json", prebuilt));
    const { file } = chooseLibrary(manifest, { backend: "cuda", tests: false });
    await Deno.copyFile(new URL("MANIFEST.json", prebuilt), `${folder}/MANIFEST.json`);
    const bytes = await Deno.readFile(new URL(file, prebuilt));
    const damaged = bytes.slice();
    damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1;
    for (const content of [damaged, bytes.subarray(0, bytes.length / 2), undefined]) {
      const path = `${folder}/${file}`;
      if (content === undefined) await Deno.remove(path);
      else await Deno.writeFile(path, content);
      const { code, stderr } = await starx([...BENCH, "-l", "1024"], { STARX_KERNELS: folder });
      assertEquals(code, EXIT_CODES.device);
      assertStringIncludes(stderr, path);
    }
  });
});
