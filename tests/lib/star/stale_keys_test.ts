import { openCpuDevice } from "../../../lib/device/cpu.ts";
import {
  checkFailedSequence,
  checkStaleKeys,
  STALE_MODES,
  staleName,
} from "../../helpers/stale_keys.ts";

for (const options of STALE_MODES) {
  Deno.test(`what free pages hold changes nothing in ${staleName(options)}`, async () => {
    using device = await openCpuDevice({ threads: 1 });
    await checkStaleKeys(device, options);
  });

  Deno.test(`pages of a sequence with NaN are zeroed before others get them in ${staleName(options)}`, async () => {
    using device = await openCpuDevice({ threads: 1 });
    await checkFailedSequence(device, options);
  });
}
