import { checkOutputPath } from "../../commands/infer/output.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

Deno.test("checkOutputPath() takes files, and refuses all else", async () => {
  await inFolder({ "old.jsonl": "", "folder/x": "" }, async (folder) => {
    await new Deno.Command("mkfifo", { args: [`${folder}/pipe`] }).output();
    for (const name of ["old.jsonl", "new.jsonl", "new/new.jsonl"]) {
      await checkOutputPath(`${folder}/${name}`);
    }
    for (const path of [`${folder}/folder`, `${folder}/pipe`, "/dev/null"]) {
      await assertRejects(
        () => checkOutputPath(path),
        UsageError,
        "--output_path: must be a file, whose records a run goes on behind when it was cut off: " +
          `current value is ${path}`,
      );
    }
  });
});
