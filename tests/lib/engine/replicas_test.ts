import { buildFakeGpu, withFakeGpu } from "../../helpers/fake_gpu.ts";
import { checkReplicas } from "../../helpers/replicas.ts";

const folder = await buildFakeGpu();

Deno.test({
  name: "two replicas, each with a fake GPU of its own, give what one gives",
  ignore: folder === undefined,
  fn: () => withFakeGpu(folder, checkReplicas, { FAKE_GPUS: "2" }),
});
