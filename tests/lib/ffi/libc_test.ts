/**
 * The C library's calls and their errors.
 *
 * @module
 */
import { DeviceError, FileError } from "../../../lib/errors.ts";
import { Libc, timespec } from "../../../lib/ffi/libc.ts";
import { addressOf } from "../../../lib/ffi/memory.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

Deno.test("Libc throws with the name of the error", () => {
  using libc = new Libc();
  assertThrows(
    () => libc.open("/no/such/file", "read"),
    FileError,
    "Cannot open /no/such/file: ENOENT",
  );
  assertThrows(() => libc.open("/proc/self", "readWrite"), FileError, "EISDIR");
  assertThrows(() => libc.fileLength(-1), FileError, "Cannot find a file's length: EBADF");
  assertThrows(
    () => libc.map(-1, { byteLength: 4096, access: "read" }),
    DeviceError,
    "Cannot map 4096 bytes: EBADF",
  );
  assertThrows(() => libc.unmap(1n, 4096), DeviceError, "Cannot unmap 4096 bytes: EINVAL");
  assertThrows(
    () => libc.createMemory("starx test", -1),
    DeviceError,
    "Cannot create -1 bytes of shared memory: EINVAL",
  );
});

Deno.test("Libc knows its own process, its parent and no other", () => {
  using libc = new Libc();
  assertEquals(libc.parentPid(), Deno.ppid);
  assertEquals(libc.processExists(Deno.pid), true);
  assertEquals(libc.processExists(0x7fffffff), false);
  libc.yieldCore();
});

Deno.test("Libc.waitWhile() returns at once if the value differs, else when the time is over", async () => {
  using libc = new Libc();
  const word = new Int32Array([5]);
  // Would outlast the test run if it slept.
  libc.waitWhile(addressOf(word), { value: 4, timeout: timespec(3600e6) });
  await libc.waitWhileAsync(addressOf(word), { value: 4, timeout: timespec(3600e6) });
  libc.waitWhile(addressOf(word), { value: 5, timeout: timespec(1000) });
  await libc.waitWhileAsync(addressOf(word), { value: 5, timeout: timespec(1000) });
});

Deno.test("Libc.wakeAll() ends a wait on another thread", async () => {
  using libc = new Libc();
  const word = new Int32Array([5]);
  const waiting = libc.waitWhileAsync(addressOf(word), { value: 5, timeout: timespec(3600e6) });
  let isOver = false;
  waiting.then(() => {
    isOver = true;
  });
  while (!isOver) {
    libc.wakeAll(addressOf(word));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  await waiting;
});

Deno.test("Libc throws after disposal", () => {
  const libc = new Libc();
  libc[Symbol.dispose]();
  libc[Symbol.dispose]();
  assertThrows(
    () => libc.parentPid(),
    TypeError,
    "Cannot call the C library as it is disposed",
  );
});

Deno.test("timespec() splits into seconds and nanoseconds", () => {
  assertEquals([...timespec(1_500_000)], [1n, 500_000_000n]);
  assertEquals([...timespec(250)], [0n, 250_000n]);
});
