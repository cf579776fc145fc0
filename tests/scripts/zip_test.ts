import { FileError } from "../../lib/errors.ts";
import { readZip } from "../../scripts/download/zip.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";
import { zipOf } from "../helpers/zip.ts";

const TEXT = new TextEncoder().encode("the same words again and again ".repeat(1000));
const OPTIONS = { label: "x.zip", wanted: new Set(["a/b.txt"]), maxMemberBytes: 100_000 };

Deno.test("readZip() unpacks the members that are wanted", () => {
  const archive = zipOf({ "other": Uint8Array.of(1), "a/b.txt": TEXT });
  assertEquals([...readZip(archive, OPTIONS)], [["a/b.txt", TEXT]]);
});

Deno.test("readZip() refuses a member that is larger than it may be, or than it says", () => {
  const archive = zipOf({ "a/b.txt": TEXT });
  assertThrows(
    () => readZip(archive, { ...OPTIONS, maxMemberBytes: 10 }),
    FileError,
    `Cannot unpack x.zip: a/b.txt may have at most 10 bytes: current value is ${TEXT.length}`,
  );
  const bomb = zipOf({ "a/b.txt": TEXT }, { claimedBytes: 5 });
  assertThrows(() => readZip(bomb, OPTIONS), FileError, "Cannot unpack x.zip: a/b.txt");
});

Deno.test("readZip() refuses damaged archives at every byte, and never with another error", () => {
  const archive = zipOf({ "a/b.txt": TEXT.subarray(0, 100) });
  assertThrows(() => readZip(new Uint8Array(50), OPTIONS), FileError, "no central directory");
  for (let at = 0; at < archive.length; at++) {
    const damaged = archive.slice();
    damaged[at] = (damaged[at] ?? 0) ^ 0xff;
    try {
      readZip(damaged, OPTIONS);
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
    }
  }
});
