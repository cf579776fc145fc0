import { readExperiment } from "../../commands/results/experiment.ts";
import { readSweep } from "../../commands/sweep/results.ts";
import { FileError } from "../../lib/errors.ts";
import { gatherExperiment } from "../../ruler/gather.ts";
import { listLengths } from "../../ruler/lengths.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { right } from "../helpers/ruler_run.ts";
import { sweep, sweepOptions } from "../helpers/sweep_run.ts";

const SUMMARY = "0,1\nTasks,vt\nScore,50.0\nNulls,0/500\n";

Deno.test("listLengths() finds folders and links to them by number, and no files", async () => {
  const files = {
    "16384/a": "",
    "0512/a": "",
    "8192/a": "",
    "x/1024/a": "",
    "2048": "",
    "4k/a": "",
  };
  await inFolder(files, async (folder) => {
    await Deno.symlink(`${folder}/x/1024`, `${folder}/1024`);
    await Deno.symlink(`${folder}/nowhere`, `${folder}/32768`);
    assertEquals(await listLengths(folder), [
      { name: "0512", maxTokens: 512 },
      { name: "1024", maxTokens: 1024 },
      { name: "8192", maxTokens: 8192 },
      { name: "16384", maxTokens: 16384 },
    ]);
    await assertRejects(() => listLengths(`${folder}/y`), FileError, "it does not exist");
  });
});

Deno.test("gatherExperiment() and readExperiment() read the same lengths, and pass a file by", async () => {
  const files = {
    "16384/summary.csv": SUMMARY,
    "0512/summary.csv": SUMMARY,
    "8192": "",
    "x/y": "",
  };
  await inFolder({ ...files, "x/summary.csv": SUMMARY }, async (folder) => {
    await Deno.symlink(`${folder}/x`, `${folder}/1024`);
    const { lengths } = await readExperiment(folder);
    assertEquals(lengths.map(({ maxTokens }) => maxTokens), [512, 1024, 16384]);
    const [, csv] = (await gatherExperiment(folder)).split("Full CSV:\n");
    assertEquals(csv, "0512,50.0\n1024,50.0\n16384,50.0\n");
  });
});

Deno.test("readSweep() reads a length that a link leads to", async () => {
  await inFolder({}, async (folder) => {
    await sweep(sweepOptions(folder), right());
    const { rows } = await readSweep(`${folder}/sweep`);
    assertEquals([...new Set(rows.map(({ length }) => length))], [512, 1024]);
    await Deno.rename(`${folder}/sweep/1024`, `${folder}/elsewhere`);
    await Deno.symlink(`${folder}/elsewhere`, `${folder}/sweep/1024`);
    await Deno.writeTextFile(`${folder}/sweep/2048`, "");
    assertEquals((await readSweep(`${folder}/sweep`)).rows, rows);
  });
});
