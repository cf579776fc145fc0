/**
 * How many sequences are decoded at once where nobody says it.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import { DEVICE_TRAITS } from "../../../lib/device/device.ts";
import {
  BATCH_RANGE,
  BatchWidth,
  sequenceBytes,
  type SequenceSize,
  sharedStepBytes,
} from "../../../lib/engine/batch_size.ts";
import { PRECISIONS } from "../../../lib/model/precision.ts";
import { modelShape } from "../../../lib/model/shapes.ts";
import { layOutBlocks } from "../../../lib/star/blocks.ts";
import { assert, assertEquals, assertLess } from "../../helpers/assert.ts";

const NAMES = ["135m", "llama-3.2-1b", "llama-3.1-8b"] as const;
const LENGTHS = [512, 4096, 8192, 32768, 131072] as const;

function configOf(name: string) {
  const config = modelShape(name);
  assert(config !== undefined);
  return config;
}

function sizeOf(contextTokens: number, plan: PlanOptions = {}, ranks = 1): SequenceSize {
  return { layout: layOutBlocks(checkPlan(plan), { contextTokens, ranks }), room: 128 };
}

function autoWidth(kind: "cpu" | "cuda", name: string, dtype: "bf16" | "f32" = "bf16") {
  const options = { config: configOf(name), precision: PRECISIONS[dtype] };
  return new BatchWidth(DEVICE_TRAITS[kind], { ...options, batchSize: "auto" });
}

Deno.test("a batch is as wide as pays for its lengths", () => {
  const widths = (kind: "cpu" | "cuda") =>
    NAMES.map((name) => LENGTHS.map((n) => autoWidth(kind, name).left([], sizeOf(n))));
  assertEquals(widths("cuda"), [[64, 32, 17, 5, 2], [64, 64, 41, 11, 3], [64, 64, 58, 15, 4]]);
  assertEquals(widths("cpu"), [[16, 13, 7, 2, 1], [16, 16, 16, 10, 3], [16, 16, 16, 14, 4]]);
});

Deno.test("a sequence is added while the keys of the others weigh at most four times the weights", () => {
  const [config, precision] = [configOf("llama-3.1-8b"), PRECISIONS.bf16];
  const shared = sharedStepBytes(DEVICE_TRAITS.cuda, { config, precision });
  // Weights of 16.1 GB without the embedding's 1.05, and the starts of 32 layers' ops.
  assertLess(Math.abs(shared - 15.55e9), 0.02e9);
  const width = autoWidth("cuda", "llama-3.1-8b");
  const mixed = LENGTHS.toReversed().flatMap((n) => [sizeOf(n), sizeOf(n)]);
  for (let count = 1; count <= mixed.length; count++) {
    const running = mixed.slice(0, count);
    const bytes = running.reduce(
      (sum, size) => sum + sequenceBytes(size, { config, precision }),
      0,
    );
    assertEquals(width.left(running) > 0, bytes < 4 * shared, `${count} sequences`);
  }
});

Deno.test("a batch is no wider than products that are bound by reading", () => {
  const short = sizeOf(128);
  assertEquals(autoWidth("cpu", "llama-3.2-1b").left([], short), 16);
  // A weight of twice the bytes is read for twice the time.
  assertEquals(autoWidth("cpu", "llama-3.2-1b", "f32").left([], short), 32);
  assertEquals(autoWidth("cuda", "llama-3.2-1b").places, 64);
  assertEquals(autoWidth("cuda", "llama-3.2-1b").left(Array(64).fill(short)), 0);
});

Deno.test("one sequence always runs, and a number that was asked for stands", () => {
  const endless = sizeOf(2 ** 22);
  const auto = autoWidth("cpu", "135m");
  assertEquals([auto.left([], endless), auto.left([]), auto.left([endless])], [1, 16, 0]);
  const options = { config: configOf("135m"), precision: PRECISIONS.bf16 };
  const given = new BatchWidth(DEVICE_TRAITS.cpu, { ...options, batchSize: BATCH_RANGE.max });
  assertEquals([given.left([], endless), given.left([endless, endless])], [128, 126]);
  assertEquals(new BatchWidth(DEVICE_TRAITS.cpu, options).places, 1);
});

Deno.test("ranks that share a context keep less of it each, so that more sequences pay", () => {
  const star = { mode: "star", blockTokens: 4096, anchorTokens: 4096 } as const;
  const width = autoWidth("cuda", "llama-3.1-8b");
  const [alone = 0, four = 0] = [1, 4].map((ranks) => width.left([], sizeOf(131072, star, ranks)));
  assertEquals([alone, four], [4, 15]);
});
