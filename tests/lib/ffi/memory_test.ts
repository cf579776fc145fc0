/**
 * Mapped files and shared memory.
 *
 * @module
 */
import { FileError } from "../../../lib/errors.ts";
import {
  addressOf,
  bytesAt,
  createSharedMemory,
  mapFile,
  openSharedMemory,
} from "../../../lib/ffi/memory.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

Deno.test("mapFile() shows the bytes of a file until it is disposed", () => {
  const path = Deno.makeTempFileSync();
  try {
    const content = new Uint8Array(10_001).map((_, i) => (i * 7) % 251);
    Deno.writeFileSync(path, content);
    const file = mapFile(path);
    assertEquals(file.byteLength, content.length);
    assertEquals(file.bytes, content);
    assertEquals(bytesAt(file.pointer + 5000n, 3), content.subarray(5000, 5003));
    const late = file.bytes;
    file[Symbol.dispose]();
    file[Symbol.dispose]();
    assertEquals(late.byteLength, 0);
    assertThrows(() => file.bytes, TypeError, `Cannot read ${path} as it is unmapped`);
    assertThrows(() => file.pointer, TypeError, `Cannot read ${path} as it is unmapped`);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("mapFile() maps more than 4 GiB", () => {
  const path = Deno.makeTempFileSync();
  try {
    const byteLength = 5 * 2 ** 30 + 3;
    using handle = Deno.openSync(path, { write: true });
    handle.truncateSync(byteLength - 3);
    handle.seekSync(byteLength - 3, Deno.SeekMode.Start);
    handle.writeSync(new Uint8Array([1, 2, 3]));
    using file = mapFile(path);
    assertEquals(file.bytes.length, byteLength);
    assertEquals([...file.bytes.subarray(byteLength - 3)], [1, 2, 3]);
  } finally {
    Deno.removeSync(path);
  }
});

Deno.test("mapFile() throws if the file is missing, empty, a folder or a device", () => {
  const folder = Deno.makeTempDirSync();
  try {
    const missing = `${folder}/missing`;
    assertThrows(() => mapFile(missing), FileError, `Cannot map ${missing}: No such file`);
    const empty = `${folder}/empty`;
    Deno.writeFileSync(empty, new Uint8Array(0));
    assertThrows(() => mapFile(empty), FileError, `Cannot map ${empty} as it is empty`);
    assertThrows(
      () => mapFile(folder),
      FileError,
      `Cannot map ${folder} as it is not a regular file`,
    );
    assertThrows(
      () => mapFile("/dev/null"),
      FileError,
      "Cannot map /dev/null as it is not a regular file",
    );
    assertThrows(() => mapFile("a\0b"), FileError, "Cannot map a\0b");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("addressOf() and bytesAt() are inverse", () => {
  const bytes = new Uint8Array([1, 2, 3, 4]);
  const seen = bytesAt(addressOf(bytes.subarray(1)), 2);
  assertEquals([...seen], [2, 3]);
  bytes[1] = 9;
  assertEquals(seen[0], 9);
});

Deno.test("createSharedMemory() is seen through openSharedMemory() until released", () => {
  const created = createSharedMemory("starx test", 4096);
  using mine = created.memory;
  using theirs = openSharedMemory(created.path, 4096);
  mine.bytes[17] = 42;
  assertEquals(theirs.bytes[17], 42);
  assertThrows(
    () => openSharedMemory(created.path, 4097),
    FileError,
    `Cannot map ${created.path} as it must have at least 4097 bytes: current value is 4096`,
  );
  created.release();
  created.release();
  assertThrows(
    () => openSharedMemory(created.path, 4096),
    FileError,
    `Cannot open ${created.path}: ENOENT`,
  );
  assertEquals(mine.bytes[17], 42);
});
