import { FileError } from "../../lib/errors.ts";
import { readLines, readTextFile } from "../../lib/text_file.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

Deno.test("readLines() stops at a file that is larger than it may be", async () => {
  await inFolder({ "a.csv": "x\n".repeat(1000) }, async (folder) => {
    const read = (maxBytes: number) => Array.fromAsync(readLines(`${folder}/a.csv`, { maxBytes }));
    await assertRejects(() => read(1999), FileError, "may have at most 1999 bytes: it has more");
    assertEquals((await read(2000)).length, 1000);
  });
});

Deno.test("readLines() and readTextFile() say what is no text of a file", async () => {
  await inFolder({ "b/c": "" }, async (folder) => {
    await Deno.writeFile(`${folder}/a.txt`, new Uint8Array([0x61, 0x0a, 0xff]));
    const ways: readonly ((path: string) => Promise<unknown>)[] = [
      (path) => Array.fromAsync(readLines(path)),
      (path) => readTextFile(path, { maxBytes: 10 }),
    ];
    const faults = {
      "a.txt": "it is not UTF-8 text",
      "b": "it is not a file",
      "c": "it does not exist",
    };
    for (const read of ways) {
      for (const [name, fault] of Object.entries(faults)) {
        const path = `${folder}/${name}`;
        await assertRejects(() => read(path), FileError, `Cannot read ${path}: ${fault}`);
      }
    }
  });
});
