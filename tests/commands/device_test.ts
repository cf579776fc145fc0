/**
 * `--device auto` and `cuda` where there is a GPU, for a model whose weights are whole numbers of 8 bits;
 * ignored without a C compiler.
 *
 * @module
 */
import { runCalibrate } from "../../commands/calibrate/calibrate.ts";
import { runInfer } from "../../commands/infer/infer.ts";
import { chooseRunDevice } from "../../commands/shared/device.ts";
import { UsageError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { assertEquals, assertMatch, assertRejects } from "../helpers/assert.ts";
import { compressModel } from "../helpers/compressed_tensors.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { type FakeModels, fakeModels, fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";
import { optionsIn, right, ruler } from "../helpers/ruler_run.ts";
import { sweep, sweepOptions } from "../helpers/sweep_run.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

const NOTE = "Device: the CPU, as Fake GPU takes weights in bf16, fp8, not in int8";
const REFUSAL = "'weights' must be bf16 or fp8 where 'device' is cuda: current value is int8";

/** Runs with the fake GPU, and with a model whose layers are stored in 8 bits. */
async function withInt8Model(run: (place: string, model: string) => Promise<void>): Promise<void> {
  await withFakeGpu(folder, () =>
    inFolder({}, async (place) => {
      const model = `${place}/model`;
      await Deno.mkdir(model);
      await compressModel(MODEL, model, { scales: "F32" });
      await run(place, model);
    }));
}

Deno.test({ name: "chooseRunDevice() knows what the model's files have", ignore }, async () => {
  await withInt8Model(async (_, model) => {
    const [int8, plain] = [await readConfig(model), await readConfig(MODEL)];
    const options = { device: "auto", dtype: "bf16" } as const;
    assertEquals(await chooseRunDevice(int8, options), { kind: "cpu", note: NOTE });
    assertEquals((await chooseRunDevice(plain, options)).kind, "cuda");
    assertEquals((await chooseRunDevice(plain, { ...options, weights: "int8" })).note, NOTE);
    // In bf16 their products are a GPU's, too.
    assertEquals((await chooseRunDevice(int8, { ...options, weights: "bf16" })).kind, "cuda");
    assertEquals(await chooseRunDevice(plain, { ...options, dtype: "f32" }), {
      kind: "cpu",
      note: "Device: the CPU, as Fake GPU takes numbers in bf16, not in f32",
    });
    assertEquals(await chooseRunDevice(int8, { ...options, device: "cpu" }), { kind: "cpu" });
    const onGpu = () => chooseRunDevice(int8, { ...options, device: "cuda" });
    await assertRejects(onGpu, UsageError, REFUSAL);
  });
});

Deno.test(
  { name: "chooseRunDevice() says why a driver without a GPU is of no use", ignore },
  async () => {
    await inFolder({ "libcuda.so.1": "no library" }, (driver) => {
      const run = async () => {
        const plain = await readConfig(MODEL);
        const chosen = await chooseRunDevice(plain, { device: "auto", dtype: "bf16" });
        const note = "Device: the CPU, as the GPU is not usable: Cannot use the GPU as " +
          "cudaGetDeviceCount returned cudaErrorNoDevice: no CUDA-capable device is detected";
        assertEquals(chosen, { kind: "cpu", note });
      };
      return withFakeGpu(folder, run, { STARX_CUDA: `${folder}:${driver}`, FAKE_GPUS: "0" });
    });
  },
);

/** Keeps which devices models were loaded on. */
function watched(models: FakeModels): FakeModels & { readonly devices: (string | undefined)[] } {
  const devices: (string | undefined)[] = [];
  const load: FakeModels["load"] = (path, options) => {
    devices.push(options?.device);
    return models.load(path, options);
  };
  return { ...models, load, devices };
}

Deno.test(
  { name: "commands take the CPU for a model in int8, and say so once", ignore },
  async () => {
    await withInt8Model(async (place, modelPath) => {
      const line = `${JSON.stringify({ input_context: "a", input_query: "b", outputs: [] })}\n`;
      const inputPath = `${place}/in.jsonl`;
      await Deno.writeTextFile(inputPath, line);
      const here = {
        modelPath,
        dtype: "bf16",
        threads: 1,
        processCount: 1,
        timeoutMs: 60_000,
      } as const;
      const infer = async (device: "auto" | "cuda", { load: loadModel }: FakeModels) => {
        const screen = fakeScreen();
        await runInfer({
          ...{ ...here, device, inputPath, outputPath: `${place}/out.jsonl`, plan: {} },
          ...{ sampleLimit: -1, tokensToGenerate: 1, stopWords: [], topLogits: 0 },
        }, { screen, cleanup: NO_INTERRUPTS, loadModel });
        return screen.logged;
      };
      const calibrate = async (device: "auto" | "cuda", { load }: FakeModels) => {
        const screen = fakeScreen();
        const stop = new UsageError("nothing is measured");
        const loadModel: typeof load = async (path, options) => {
          await using _model = await load(path, options);
          throw stop;
        };
        await runCalibrate({
          ...{ ...here, device, inputPath, outputPath: `${place}/t.json`, template: "base" },
          ...{ tasks: [], lengths: [], sampleCount: -1, sourceDir: undefined, rule: "threshold" },
          ...{ plan: { mode: "xattn" }, goal: { kind: "keep", share: 0.9 } },
        }, { screen, cleanup: NO_INTERRUPTS, loadModel }).catch((error) => {
          if (error !== stop) throw error;
        });
        return screen.logged;
      };
      const runs = {
        infer,
        calibrate,
        ruler: async (device: "auto" | "cuda", models: FakeModels) =>
          (await ruler(optionsIn(place, { ...here, device, tasks: ["vt"] }), models)).logged,
        sweep: async (device: "auto" | "cuda", models: FakeModels) =>
          (await sweep(sweepOptions(place, { ...here, device, tasks: ["vt"] }), models)).logged,
      };
      for (const [name, run] of Object.entries(runs)) {
        const models = watched(right());
        const logged = await run("auto", models);
        assertEquals(logged.filter((text) => text.startsWith("Device: ")), [NOTE], name);
        // Behind all that is checked before a model is loaded; calibrate's is not here.
        const next = logged[logged.indexOf(NOTE) + 1];
        if (name === "calibrate") assertEquals(next, undefined, name);
        else assertMatch(next ?? "", /^Model: /, name);
        assertEquals([...new Set(models.devices)], ["cpu"], name);
        await assertRejects(() => run("cuda", fakeModels(() => "")), UsageError, REFUSAL);
      }
    });
  },
);
