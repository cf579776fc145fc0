/**
 * Copies of a model, each on a GPU of its own. Ignored with fewer than two GPUs.
 *
 * @module
 */
import { GPU_COUNT } from "../helpers/device.ts";
import { checkReplicas } from "../helpers/replicas.ts";

Deno.test({
  name: "two replicas, each on a GPU of its own, give what one gives",
  ignore: GPU_COUNT < 2,
  fn: checkReplicas,
});
