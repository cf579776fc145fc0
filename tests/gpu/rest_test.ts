/**
 * Means of what is not selected, from a prompt to the logits on a GPU. Ignored without a GPU.
 *
 * @module
 */
import { GPU_COUNT } from "../helpers/device.ts";
import { checkAllSelected, checkFewSelected } from "../helpers/rest_runs.ts";

const HERE = { device: "cuda", precision: "bf16" } as const;

Deno.test({
  name: "a threshold of 1 gives the same bits with the rest's mean and without on a GPU",
  ignore: GPU_COUNT === 0,
  fn: () => checkAllSelected(HERE),
});

Deno.test({
  name: "the rest's mean changes logits, and gives the same in batches on a GPU, and on two",
  ignore: GPU_COUNT === 0,
  fn: () => checkFewSelected({ ...HERE, mostProcesses: Math.min(2, GPU_COUNT) }),
});
