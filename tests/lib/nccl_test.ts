/**
 * The collective of GPUs over a stand-in for NCCL that is built here; ignored without a C compiler.
 *
 * @module
 */
import type { DeviceStream } from "../../lib/device/device.ts";
import { NcclCollective } from "../../lib/parallel/nccl.ts";
import { ShmCollective, ShmGroup } from "../../lib/parallel/shm.ts";
import type { Region } from "../../lib/device/device.ts";
import { WorkerError } from "../../lib/errors.ts";
import { type ForeignLibrary, openLibrary } from "../../lib/ffi/library.ts";
import { addressOf } from "../../lib/ffi/memory.ts";
import { Nccl, NCCL_ID_BYTES } from "../../lib/ffi/nccl.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "../helpers/assert.ts";
import { testCollective, type TestGroup } from "../helpers/collective_suite.ts";

const SLOT_BYTES = 4096;
const STUB_SYMBOLS = {
  stub_log: { parameters: ["buffer", "i32"], result: "i32" },
  stub_pending: { parameters: ["u64"], result: "i32" },
  stub_break: { parameters: [], result: "void" },
} as const satisfies Deno.ForeignLibraryInterface;

const path = await buildStub();

/** Builds the stand-in; undefined without a compiler. */
async function buildStub(): Promise<string | undefined> {
  const folder = await Deno.makeTempDir();
  globalThis.addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
  const source = new URL("../helpers/nccl_stub.c", import.meta.url).pathname;
  const out = `${folder}/libnccl.so.2`;
  try {
    const { success, stderr } = await new Deno.Command("gcc", {
      args: ["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o", out, source],
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    return out;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}

/** Host memory as a GPU's. */
function region(bytes: Uint8Array<ArrayBuffer>): Region {
  const { byteLength } = bytes;
  return {
    label: "test",
    byteLength,
    address: addressOf(bytes),
    contiguous: true,
    hostBytes: () => bytes,
  };
}

class StubGroup implements TestGroup {
  readonly stub: ForeignLibrary<typeof STUB_SYMBOLS>;
  readonly lost: WorkerError[] = [];
  #ranks: NcclCollective[] = [];
  #shm: ShmGroup | undefined;

  private constructor(path: string) {
    this.stub = openLibrary(path, STUB_SYMBOLS);
  }

  static async connect(size: number, options: { timeoutMs: number }): Promise<StubGroup> {
    assert(path !== undefined);
    const { timeoutMs } = options;
    const group = new StubGroup(path);
    const shm = new ShmGroup({ size, slotBytes: SLOT_BYTES });
    group.#shm = shm;
    group.log();
    group.#ranks = await Promise.all(Array.from({ length: size }, (_, rank) =>
      NcclCollective.join({
        host: new ShmCollective(shm.path, { rank, size, slotBytes: SLOT_BYTES, timeoutMs }),
        stream: group.stream(rank),
        path,
        timeoutMs,
        onLost: (error) => group.lost.push(error),
      })));
    shm.seal();
    return group;
  }

  get ranks(): readonly NcclCollective[] {
    return this.#ranks;
  }

  stream(rank: number): DeviceStream {
    const stream = BigInt(rank + 1);
    return {
      handle: stream,
      makeCurrent: () => {},
      mark: () => ({
        isDone: () => this.stub.symbols.stub_pending(stream) === 0,
        [Symbol.dispose]: () => {},
      }),
    };
  }

  log(): string[] {
    const out = new Uint8Array(1 << 16);
    const length = this.stub.symbols.stub_log(out, out.length);
    return new TextDecoder().decode(out.subarray(0, length)).split("\n").slice(0, -1);
  }

  [Symbol.asyncDispose](): Promise<void> {
    for (const rank of this.#ranks) rank.close();
    this.#shm?.[Symbol.dispose]();
    this.stub.close();
    return Promise.resolve();
  }
}

const ignore = path === undefined;

if (!ignore) {
  testCollective("NcclCollective", {
    sizes: [1, 3],
    slotBytes: SLOT_BYTES,
    connect: (size, options) => StubGroup.connect(size, options),
  });
}

Deno.test({
  name: "NcclCollective.allGatherRegions() gives all parts in rank order",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(3, { timeoutMs: 10_000 });
    for (const byteLength of [100, 1, 4096]) {
      const outs = await Promise.all(group.ranks.map(async (collective, rank) => {
        const out = new Uint8Array(3 * byteLength);
        const part = new Uint8Array(byteLength).fill(rank + 1);
        await collective.allGatherRegions(region(part), region(out));
        return out;
      }));
      for (const out of outs) {
        const expected = Array.from(
          { length: 3 * byteLength },
          (_, i) => 1 + Math.floor(i / byteLength),
        );
        assertEquals([...out], expected);
      }
    }
  },
});

Deno.test({
  name: "NcclCollective.broadcastRegion() gives all ranks the bytes of one",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(3, { timeoutMs: 10_000 });
    for (const root of [0, 2]) {
      const all = await Promise.all(group.ranks.map(async (collective, rank) => {
        const data = new Uint8Array(100).fill(rank + 1);
        await collective.broadcastRegion(region(data), { root });
        return data;
      }));
      for (const data of all) assert(data.every((byte) => byte === root + 1));
    }
    const [first] = group.ranks;
    await assertRejects(
      async () => await first?.broadcastRegion(region(new Uint8Array(1)), { root: 3 }),
      RangeError,
      "Cannot broadcast as 'root' must be a rank below 3: current value is 3",
    );
  },
});

Deno.test({
  name: "NcclCollective.allGatherRegions() refuses memory of another length",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(1, { timeoutMs: 10_000 });
    const [collective] = group.ranks;
    assert(collective !== undefined);
    await assertRejects(
      () => collective.allGatherRegions(region(new Uint8Array(128)), region(new Uint8Array(127))),
      RangeError,
      "Cannot gather as 'out' must have 128 bytes in one piece: current value is 127",
    );
  },
});

Deno.test({
  name: "NcclCollective aborts on every rank if an exchange hangs",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(3, { timeoutMs: 200 });
    const [, second, third] = group.ranks;
    const buffers = [new Uint8Array(128), new Uint8Array(384)] as const;
    await second?.allGatherRegions(region(buffers[0]), region(buffers[1]));
    await third?.allGatherRegions(region(buffers[0]), region(buffers[1]));
    group.log();
    const errors = await Promise.all(
      group.ranks.slice(1).map(async (collective) => {
        await new Promise((resolve) => setTimeout(resolve, 500));
        return await assertRejects(() => collective.barrier(), WorkerError);
      }),
    );
    for (const error of errors) {
      assertEquals(error.message, "An exchange between GPUs hangs: no progress for 200 ms");
    }
    assertEquals(group.log().sort(), ["abort 1", "abort 2"]);
    assertEquals(group.stub.symbols.stub_pending(2n), 0);
    assertEquals(group.lost.length, 2);
    const told = await assertRejects(async () => await group.ranks[0]?.barrier(), WorkerError);
    assertMatch(told.message, /^Rank [12] ended the run: An exchange between GPUs hangs/);
    assertEquals(group.log(), ["abort 0"]);
  },
});

Deno.test({
  name: "NcclCollective aborts if NCCL reports a lost rank",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(2, { timeoutMs: 10_000 });
    group.stub.symbols.stub_break();
    const [first] = group.ranks;
    assert(first !== undefined);
    const [part, out] = [new Uint8Array(128), new Uint8Array(256)];
    const error = await assertRejects(
      () => first.allGatherRegions(region(part), region(out)),
      WorkerError,
    );
    assertStringIncludes(error.message, "an exchange failed: remote process exited");
    const again = await assertRejects(
      () => first.allGatherRegions(region(part), region(out)),
      WorkerError,
    );
    assertEquals(again.message, error.message);
    assert(group.log().includes("abort 0"));
  },
});

Deno.test({
  name: "NcclCollective.leave() ends the communicator on all ranks",
  ignore,
  async fn() {
    await using group = await StubGroup.connect(2, { timeoutMs: 10_000 });
    group.log();
    await Promise.all(group.ranks.map((collective) => collective.leave()));
    assertEquals(group.log().sort(), ["destroy 0", "destroy 1", "finalize 0", "finalize 1"]);
  },
});

Deno.test({
  name: "Nccl.connect() refuses an id of another length",
  ignore,
  fn() {
    assert(path !== undefined);
    using nccl = new Nccl(path);
    assertEquals(nccl.version, 21803);
    const id = nccl.createId();
    assertEquals(id.length, NCCL_ID_BYTES);
    assertThrows(
      () => nccl.connect({ id: id.slice(1), rank: 0, size: 1 }),
      RangeError,
      "Cannot join a communicator as its id must have 128 bytes: current value is 127",
    );
    const wrong = id.map((byte, i) => i === 127 ? byte + 1 : byte);
    assertThrows(
      () => nccl.connect({ id: wrong, rank: 0, size: 1 }),
      WorkerError,
      "Cannot exchange between GPUs as ncclCommInitRankConfig failed: invalid argument",
    );
  },
});
