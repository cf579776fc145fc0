import { MappedGuard } from "../../../lib/ffi/mapped_guard.ts";
import { mapFile } from "../../../lib/ffi/memory.ts";
import { assertEquals } from "../../helpers/assert.ts";
import { inFolder } from "../../helpers/folder.ts";

/** What becomes of a process that reads a mapped file which was cut off. */
async function readCutFile(path: string, what: "guarded" | "other") {
  const helper = new URL("../../helpers/fake_reader.ts", import.meta.url).pathname;
  const { code, signal, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "-q", "--no-prompt", "--allow-read", "--allow-write", "--allow-ffi"],
      ...["--allow-env", helper, path, what],
    ],
    stdout: "null",
  }).output();
  return { code, signal, stderr: new TextDecoder().decode(stderr) };
}

Deno.test("a guarded file that became shorter ends the process by a line and code 3", () =>
  inFolder({ weights: "x".repeat(10_000) }, async (folder) => {
    const path = `${folder}/weights`;
    const line = `error: Cannot go on with ${path} as it became shorter, or could not be read, ` +
      "while it was mapped into memory (--copy_weights reads weights into memory once)\n";
    assertEquals(await readCutFile(path, "guarded"), { code: 3, signal: null, stderr: line });
  }));

Deno.test("SIGBUS outside of guarded files does what it did before", () =>
  inFolder({ weights: "x".repeat(10_000) }, async (folder) => {
    const { signal, stderr } = await readCutFile(`${folder}/weights`, "other");
    assertEquals([signal, stderr], ["SIGBUS", ""]);
  }));

Deno.test("MappedGuard guards several files at once, and may be disposed of twice", () =>
  inFolder({ a: "a", b: "b" }, async (folder) => {
    const [first, second] = [await MappedGuard.open(), await MappedGuard.open()];
    for (const guard of [first, second]) {
      for (const name of ["a", "b"]) {
        using file = mapFile(`${folder}/${name}`);
        guard.add({ address: file.pointer, byteLength: file.byteLength, path: name });
      }
    }
    first[Symbol.dispose]();
    first[Symbol.dispose]();
    second[Symbol.dispose]();
  }));
