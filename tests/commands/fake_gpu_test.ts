/**
 * The commands `bench` and `doctor` on the fake GPU; ignored without a C compiler.
 *
 * @module
 */
import { runBench } from "../../commands/bench/bench.ts";
import { runKernelBench } from "../../commands/bench/kernels.ts";
import type { BenchOptions } from "../../commands/bench/options.ts";
import { runDoctor } from "../../commands/doctor/doctor.ts";
import { modelShape } from "../../lib/model/shapes.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../helpers/assert.ts";
import { buildFakeGpu, withFakeGpu } from "../helpers/fake_gpu.ts";
import { fakeScreen } from "../helpers/fake_model.ts";
import { MODEL } from "../helpers/prompts.ts";

const folder = await buildFakeGpu();
const ignore = folder === undefined;

const config = modelShape("small");
assert(config !== undefined);

const OPTIONS: BenchOptions = {
  model: { kind: "shape", name: "small", config },
  device: "cuda",
  dtype: "bf16",
  threads: 1,
  processCount: 1,
  modes: ["dense", "xattn", "starx"],
  lengths: [700],
  decodeContexts: [300],
  decodeTokens: 3,
  batchSize: 1,
  blockTokens: 256,
  anchorTokens: 256,
  stride: 16,
  threshold: 0.9,
  rest: "drop",
  density: 0.5,
  repeats: 2,
  kernels: false,
  json: false,
  jsonPath: undefined,
};

Deno.test(
  { name: "runBench() times every mode and says where the time went", ignore },
  async () => {
    await withFakeGpu(folder, async () => {
      const printed: string[] = [];
      const output = { print: (text: string) => void printed.push(text), note: () => {} };
      const reports = await runBench(OPTIONS, output);
      assertEquals(reports.map(({ mode }) => mode), ["dense", "xattn", "starx"]);
      for (const { mode, prefill: [prefill], decode: [decode] } of reports) {
        assert(prefill !== undefined && decode !== undefined);
        const { costs, seconds, density } = prefill;
        assertEquals(seconds.length, 2);
        for (const part of [costs.matmulS, costs.attentionS, costs.otherS, decode.seconds]) {
          assert(part > 0, `${mode}: a part of the time must be above 0`);
        }
        assertEquals(costs.selectionS > 0, mode !== "dense");
        assert(mode === "dense" ? density === 1 : density > 0.3 && density < 0.9, `${density}`);
      }
      assertMatch(printed.join(""), /small \(random weights\), cuda:0 Fake GPU/);
    });
  },
);

Deno.test(
  { name: "runBench() times decoding over chosen keys, in steps that are recorded", ignore },
  async () => {
    await withFakeGpu(folder, async () => {
      const printed: string[] = [];
      const output = { print: (text: string) => void printed.push(text), note: () => {} };
      const changes = { modes: ["dense", "star"], decodeKeep: 0.5, gpusPerRank: 2 } as const;
      const reports = await runBench({ ...OPTIONS, ...changes }, output);
      assertEquals(reports.map(({ plan }) => plan.decodeKeep), [{ share: 0.5 }, { share: 0.5 }]);
      for (const { decode: [decode] } of reports) {
        assert(decode !== undefined && decode.seconds > 0);
      }
      assertMatch(printed.join(""), /dense, decode_keep 0\.5\n/);
    }, { FAKE_GPUS: "2" });
  },
);

Deno.test(
  { name: "runBench() spreads the layers over as many GPUs as it is told", ignore },
  async () => {
    await withFakeGpu(folder, async () => {
      const output = { print: () => {}, note: () => {} };
      const options = { ...OPTIONS, modes: ["starx"], gpusPerRank: 2 } as const;
      const [report] = await runBench(options, output);
      assert(report !== undefined);
      assertEquals(report.device, "cuda:0 Fake GPU (sm_90) and cuda:1 Fake GPU (sm_90)");
      const [prefill] = report.prefill;
      // Ops of both GPUs are counted: the first layer is on one, the last layer's on the other.
      assert(prefill !== undefined && prefill.costs.matmulS > 0 && prefill.costs.attentionS > 0);
    }, { FAKE_GPUS: "2" });
  },
);

Deno.test({ name: "runKernelBench() times ops beside their floors", ignore }, async () => {
  await withFakeGpu(folder, async () => {
    const output = { print: () => {}, note: () => {} };
    const timings = await runKernelBench({ ...OPTIONS, lengths: [256] }, output);
    assert(timings.length >= 18);
    for (const { name, us, floorUs } of timings) {
      assert(us > 0 && floorUs > 0, `${name} must take time`);
    }
  });
});

Deno.test({ name: "runDoctor() shows GPUs and what they need", ignore }, async () => {
  await withFakeGpu(folder, async () => {
    const screen = fakeScreen();
    await runDoctor({ modelPath: MODEL, sourceDir: undefined }, screen);
    const text = screen.printed.join("");
    assertStringIncludes(text, "GPU       cuda:0 Fake GPU, compute capability 9.0");
    assertStringIncludes(text, `cuBLAS: ${folder}/libcublas.so.13`);
    assert(text.trim().split("\n").length <= 24, "the report must fit into a screen");
  });
});

Deno.test({ name: "runDoctor() says how several GPUs are dealt", ignore }, async () => {
  await withFakeGpu(folder, async () => {
    const screen = fakeScreen();
    await runDoctor({ modelPath: MODEL, sourceDir: undefined }, screen);
    assertStringIncludes(screen.printed.join(""), "-np N gives each process floor(3 / N) of them");
  }, { FAKE_GPUS: "3" });
  const launched = { RANK: "0", WORLD_SIZE: "2", LOCAL_RANK: "0", LOCAL_WORLD_SIZE: "2" };
  await withFakeGpu(folder, async () => {
    const screen = fakeScreen();
    await runDoctor({ modelPath: MODEL, sourceDir: undefined }, screen);
    const text = "2 for each of this machine's 2 processes; 1 left over, used by nobody";
    assertStringIncludes(screen.printed.join(""), text);
  }, { FAKE_GPUS: "5", ...launched });
});
