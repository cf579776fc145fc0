import { runGather } from "../../commands/ruler/gather.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { evaluateFolder } from "../../ruler/evaluate.ts";
import { gatherExperiment } from "../../ruler/gather.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { sharedFolder } from "../helpers/shared.ts";

const shared = sharedFolder();

Deno.test({
  name: "runGather() prints what the original does for the vectors",
  ignore: shared === undefined,
  async fn() {
    const vectors = JSON.parse(await Deno.readTextFile(`${shared}/ruler/vectors/evaluate.json`));
    await inFolder(vectors.input_files, async (root) => {
      for (const name of vectors.empty_dirs) await Deno.mkdir(`${root}/${name}`);
      for (const name of ["4096", "16384"]) {
        await evaluateFolder(`${root}/exp1/${name}`, { print: () => {} });
      }
      let text = "";
      await runGather(
        { exps: ["exp1"], outputDir: root, format: "original" },
        (part) => text += part,
      );
      assertEquals(text, vectors.gather_stdout);
      assertEquals(await gatherExperiment(`${root}/exp1`), vectors.gather_stdout);
    });
  },
});

Deno.test("gatherExperiment() sorts lengths as numbers and lists unfinished and missing", async () => {
  const summary = (nulls: string) => `0,1,2\nTasks,vt,cwe\nScore,100.0,n/a\nNulls,${nulls}\n`;
  const files = {
    "8192/summary.csv": summary("0/500,3/500"),
    "16384/summary.csv": summary("0/499,0/500"),
    "logs/summary.csv": "no summary",
    "4096/summary-vt.csv": summary("0/1"),
  };
  await inFolder(files, async (folder) => {
    const expected = [
      "",
      "Sequence Length: 8192",
      "vt  | cwe",
      "---------",
      "100.0 | n/a",
      "0/500 | 3/500",
      "",
      "",
      "Sequence Length: 16384",
      "vt  | cwe",
      "---------",
      "100.0 | n/a",
      "0/499 | 0/500",
      "",
      '== "Unfinished Tasks: vt ==',
      "",
      "",
      "++ Missing sequence length experiments: 4096 ++",
      "",
      "Full CSV:",
      "8192,100.0,n/a",
      "16384,100.0,n/a",
      "",
    ];
    assertEquals(await gatherExperiment(folder), expected.join("\n"));
  });
});

Deno.test("gatherExperiment() throws for a damaged summary", async () => {
  await inFolder({ "8192/summary.csv": "0,1\nTasks,vt,cwe\nScore,1.0\n" }, async (folder) => {
    await assertRejects(
      () => gatherExperiment(folder),
      FileError,
      `Cannot read ${folder}/8192/summary.csv as its rows must be equally long: ` +
        "found 2 tasks, 1 scores, 0 null counts",
    );
  });
});

Deno.test("runGather() throws without an experiment or for a path that is no folder", async () => {
  await assertRejects(
    () => runGather({ exps: [""], outputDir: "results", format: "original" }, () => {}),
    UsageError,
    "--exp: must name an experiment: current value is ''",
  );
  await assertRejects(
    () => runGather({ exps: ["none"], outputDir: "/nowhere/", format: "table" }, () => {}),
    FileError,
    "Cannot gather results as the experiment must be a folder: /nowhere/none",
  );
});
