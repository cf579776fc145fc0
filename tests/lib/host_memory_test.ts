import { groupMemory, hostMemory } from "../../lib/device/host_memory.ts";
import { checkHostMemory, type HostQuestion, longestContext } from "../../lib/engine/host_plan.ts";
import { checkPlan } from "../../lib/attention/plan.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { DeviceError } from "../../lib/errors.ts";
import { parseConfig, readConfig } from "../../lib/model/config.ts";
import { assert, assertEquals, assertThrows } from "../helpers/assert.ts";
import { MODEL } from "../helpers/prompts.ts";

function reader(files: Readonly<Record<string, string>>): (path: string) => string | undefined {
  return (path) => files[path];
}

const V2 = "/sys/fs/cgroup";
const STAT = "anon 50\ninactive_file 10\nactive_file 5\nunevictable 0\n";

Deno.test("groupMemory() finds the tightest of a process's groups, cached files not counted", () => {
  const files = {
    "/proc/self/cgroup": "0::/a/b\n",
    [`${V2}/a/b/memory.max`]: "max\n",
    [`${V2}/a/b/memory.current`]: "70\n",
    [`${V2}/a/memory.max`]: "100\n",
    [`${V2}/a/memory.current`]: "80\n",
    [`${V2}/a/memory.stat`]: STAT,
    [`${V2}/memory.max`]: "1000\n",
    [`${V2}/memory.current`]: "90\n",
  };
  assertEquals(groupMemory(reader(files)), { limitBytes: 100, freeBytes: 35 });
});

Deno.test("groupMemory() reads the first version of control groups, too", () => {
  const root = "/sys/fs/cgroup/memory";
  const files = {
    "/proc/self/cgroup": "4:memory:/job\n1:cpu,cpuacct:/other\n",
    [`${root}/job/memory.limit_in_bytes`]: "100\n",
    [`${root}/job/memory.usage_in_bytes`]: "60\n",
    [`${root}/job/memory.stat`]:
      "inactive_file 8\nactive_file 2\ntotal_inactive_file 8\ntotal_active_file 2\n",
  };
  assertEquals(groupMemory(reader(files)), { limitBytes: 100, freeBytes: 50 });
});

Deno.test("groupMemory() knows of no limit where there is none", () => {
  assertEquals(groupMemory(reader({})), undefined);
  assertEquals(groupMemory(reader({ "/proc/self/cgroup": "0::/\n" })), undefined);
});

Deno.test("hostMemory() finds this machine's memory", () => {
  const { totalBytes = 0, availableBytes = 0 } = hostMemory() ?? {};
  assert(availableBytes > 0 && availableBytes <= totalBytes);
});

Deno.test("checkHostMemory() refuses what does not fit, with what would", async () => {
  const config = await readConfig(MODEL);
  const question: HostQuestion = {
    ...{
      config,
      precision: PRECISIONS.bf16,
      plan: checkPlan({ mode: "dense" }),
      processCount: 1,
    },
    ...{ contextTokens: 16_384, room: 128, availableBytes: 2 ** 29 },
  };
  checkHostMemory(question);
  const perToken = 4 * config.layerCount * config.kvHeads * config.headDim;
  const tight = { ...question, availableBytes: 2 ** 28 + 60 * 2 ** 20 + perToken * 2000 };
  const { message } = assertThrows(
    () => checkHostMemory({ ...tight, contextTokens: 1_000_000 }),
    DeviceError,
    "Cannot run 1000128 tokens on the CPU as ",
  );
  const [, fitting] = /up to (\d+) tokens fit/.exec(message) ?? [];
  assert(Number(fitting) > 128, message);
  checkHostMemory({ ...tight, contextTokens: Number(fitting) - 128 });
  assertThrows(
    () => checkHostMemory({ ...tight, contextTokens: Number(fitting), processCount: 2 }),
    DeviceError,
  );
});

Deno.test("checkHostMemory() counts weights only where they are read into memory", async () => {
  const text = JSON.parse(await Deno.readTextFile(`${MODEL}/config.json`));
  const config = parseConfig({ ...text, vocab_size: 1 << 20 }, { path: "config.json" });
  const question: HostQuestion = {
    ...{
      config,
      precision: PRECISIONS.bf16,
      plan: checkPlan({ mode: "dense" }),
      processCount: 1,
    },
    ...{ contextTokens: 128, room: 8, availableBytes: 400 * 2 ** 20 },
  };
  checkHostMemory(question);
  assertThrows(() => checkHostMemory({ ...question, copyWeights: true }), DeviceError, "weights");
});

Deno.test("longestContext() is the border between what fits and what does not", async () => {
  const config = await readConfig(MODEL);
  const question: HostQuestion = {
    ...{
      config,
      precision: PRECISIONS.bf16,
      plan: checkPlan({ mode: "xattn" }),
      processCount: 1,
    },
    ...{ contextTokens: 0, room: 128, availableBytes: 450 * 2 ** 20 },
  };
  const tokens = longestContext(question, { maxTokens: 1 << 22 });
  assert(tokens > 0 && tokens < 1 << 22, `${tokens}`);
  checkHostMemory({ ...question, contextTokens: tokens });
  assertThrows(() => checkHostMemory({ ...question, contextTokens: tokens + 1 }), DeviceError);
  assertEquals(longestContext(question, { maxTokens: 512 }), 512);
});
