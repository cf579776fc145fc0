import { leastOf } from "../../../lib/engine/rank_device.ts";
import { ShmCollective, ShmGroup } from "../../../lib/parallel/shm.ts";
import { assertEquals } from "../../helpers/assert.ts";

Deno.test("leastOf() gives all ranks the smallest of their numbers", async () => {
  const sizes = { size: 3, slotBytes: 4096 };
  using group = new ShmGroup(sizes);
  const found = await Promise.all([8192, 512, 4_000_000_000].map(async (own, rank) => {
    using host = new ShmCollective(group.path, { ...sizes, rank, timeoutMs: 60_000 });
    return await leastOf(host, own);
  }));
  assertEquals(found, [512, 512, 512]);
});
