import { taskFiles } from "../../babilong/mod.ts";
import { readExperiment } from "../../commands/results/experiment.ts";
import { readSummaries } from "../../commands/results/summaries.ts";
import { FileError } from "../../lib/errors.ts";
import { listFolder, removeFile, renameFile } from "../../lib/files.ts";
import { gatherExperiment } from "../../ruler/gather.ts";
import { listPredictions } from "../../ruler/predictions.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { ROOT } from "../helpers/sources.ts";

Deno.test("whatever lists a folder says which one it cannot list, and why", async () => {
  await inFolder({ "babilong/4k/qa1": "a file" }, async (folder) => {
    const path = `${folder}/babilong/4k/qa1`;
    const listed: (() => Promise<unknown>)[] = [
      () => listFolder(path),
      () => taskFiles(folder, { split: "4k", task: "qa1" }),
      () => readExperiment(path),
      () => readSummaries(path),
      () => gatherExperiment(path),
      () => listPredictions(path),
    ];
    for (const list of listed) {
      await assertRejects(list, FileError, `Cannot read ${path}: it is not a folder`);
    }
    const names = (await listFolder(`${folder}/babilong`)).map(({ name }) => name);
    assertEquals(names, ["4k"]);
    assertEquals(await taskFiles(folder, { split: "4k", task: "qa2" }), []);
    await assertRejects(
      () => listFolder(`${folder}/x`),
      FileError,
      `Cannot read ${folder}/x: it does not exist`,
    );
  });
});

Deno.test("commands and benchmarks list folders by listFolder() alone", async () => {
  const found: string[] = [];
  const look = async (folder: URL): Promise<void> => {
    for (const { name, isDirectory } of Deno.readDirSync(folder)) {
      const url = new URL(isDirectory ? `${name}/` : name, folder);
      if (isDirectory) await look(url);
      else if (/Deno\.readDir/.test(await Deno.readTextFile(url))) found.push(url.href);
    }
  };
  for (const name of ["babilong/", "commands/", "ruler/"]) await look(new URL(name, ROOT));
  assertEquals(found, []);
});

Deno.test("removeFile() and renameFile() say what they cannot do", async () => {
  await inFolder({ "a.txt": "a", "b/c.txt": "c" }, async (folder) => {
    await removeFile(`${folder}/x`);
    await assertRejects(() => removeFile(`${folder}/b`), FileError, `Cannot remove ${folder}/b: `);
    await renameFile(`${folder}/a.txt`, `${folder}/b/c.txt`);
    assertEquals(await Deno.readTextFile(`${folder}/b/c.txt`), "a");
    await assertRejects(
      () => renameFile(`${folder}/b/c.txt`, `${folder}/x/c.txt`),
      FileError,
      `Cannot write ${folder}/x/c.txt: `,
    );
    await removeFile(`${folder}/b/c.txt`);
    await removeFile(`${folder}/b`, { recursive: true });
    assertEquals(await listFolder(folder), []);
  });
});
