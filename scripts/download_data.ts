/**
 * Fetches RULER's source data into the data folder: `deno task data`.
 *
 * @module
 */
import { defineCommand } from "../commands/shared/command.ts";
import { choicesFlag, textFlag } from "../commands/shared/flags.ts";
import { dataFolder } from "../lib/data_folder.ts";
import { UsageError } from "../lib/errors.ts";
import { downloadData, importData } from "./download/data.ts";
import { DATA_FILES, DATA_GROUPS, PUNKT_ARCHIVE } from "./download/data_files.ts";
import { runScript } from "./download/entry.ts";
import { DEFAULT_PATIENCE } from "./download/http.ts";
import { stderrProgress } from "./download/progress.ts";

const data = defineCommand({
  name: "data",
  call: "deno task data",
  summary: "fetch RULER's source data, or import it",
  flags: {
    data_dir: textFlag({
      value: "FOLDER",
      help: "takes the files (default: STARX_DATA, or starx/data in the user's cache folder)",
    }),
    from: textFlag({
      value: "FOLDER",
      help: "copy the files from there instead; SQuAD and HotpotQA may be shortened ones",
    }),
    only: choicesFlag(DATA_GROUPS, {
      default: DATA_GROUPS,
      help: `some of the data: ${DATA_GROUPS.join(", ")}`,
    }),
    mirror: textFlag({
      value: "URL",
      help: "fetch from there, where the files lie under their names in the data folder",
    }),
  },
  notes: [
    "Files that are there with the known content are kept. A download that was interrupted leaves " +
    "NAME.part and is continued by the next run; a file has its name only when its size and its " +
    "SHA-256 are the known ones.",
  ],
  run: async ({ data_dir: named, from, only, mirror }) => {
    const folder = dataFolder(named);
    const files = DATA_FILES.filter(({ group }) => only.includes(group));
    const progress = stderrProgress();
    if (from !== undefined && mirror !== undefined) {
      throw new UsageError("--mirror: goes with downloads only: --from is given, too");
    }
    if (mirror !== undefined && !/^https?:\/\/\S+$/.test(mirror)) {
      throw new UsageError(`--mirror: must be an http address: current value is '${mirror}'`);
    }
    if (from === undefined) {
      await downloadData(folder, {
        files,
        archive: PUNKT_ARCHIVE,
        ...(mirror === undefined ? {} : { mirror }),
        progress,
        patience: DEFAULT_PATIENCE,
      });
    } else await importData(from, folder, { files, progress });
    progress.note(`RULER's source data (${only.join(", ")}) is in ${folder}`);
  },
});

if (import.meta.main) Deno.exit(await runScript(data));
