/**
 * Fetches RULER's source data into the data folder: `deno task data`.
 *
 * @module
 */
import { BABILONG_TASKS, SPLITS, USUAL_SPLITS, USUAL_TASKS } from "../babilong/mod.ts";
import { defineCommand } from "../commands/shared/command.ts";
import { choiceFlag, choicesFlag, textFlag } from "../commands/shared/flags.ts";
import { dataFolder } from "../lib/data_folder.ts";
import { UsageError } from "../lib/errors.ts";
import { downloadBabilong } from "./download/babilong.ts";
import { downloadData, importData } from "./download/data.ts";
import {
  DATA_FILES,
  DATA_GROUPS,
  EXTRA_FILES,
  EXTRA_GROUPS,
  PUNKT_ARCHIVE,
} from "./download/data_files.ts";
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
    only: choicesFlag([...DATA_GROUPS, ...EXTRA_GROUPS], {
      default: DATA_GROUPS,
      help: `some of the data: ${DATA_GROUPS.join(", ")}; or english, which cwe needs above some ` +
        "100,000 tokens with --generators 2026",
    }),
    benchmark: choiceFlag(["ruler", "babilong"], {
      default: "ruler",
      help: "whose data: RULER's, or BABILong's rows as the hub has them",
    }),
    splits: choicesFlag([...SPLITS.values()], {
      default: USUAL_SPLITS,
      help: "BABILong's splits",
    }),
    tasks: choicesFlag(BABILONG_TASKS, { default: USUAL_TASKS, help: "BABILong's tasks" }),
    endpoint: textFlag({
      value: "URL",
      default: "https://huggingface.co",
      help: "the hub's address, or a mirror's, for BABILong",
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
  run: async ({ data_dir: named, from, only, mirror, ...flags }) => {
    const folder = dataFolder(named);
    if (flags.benchmark === "babilong") return await fetchBabilong(folder, flags);
    const files = [...DATA_FILES, ...EXTRA_FILES].filter(({ group }) => only.includes(group));
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

async function fetchBabilong(
  folder: string,
  flags: { splits: readonly string[]; tasks: readonly string[]; endpoint: string },
): Promise<void> {
  const { splits, tasks, endpoint } = flags;
  if (!/^https?:\/\/\S+$/.test(endpoint)) {
    throw new UsageError(`--endpoint: must be an http address: current value is '${endpoint}'`);
  }
  const progress = stderrProgress();
  await downloadBabilong(folder, {
    ...{ splits, tasks, progress, patience: DEFAULT_PATIENCE },
    endpoint: endpoint.replace(/\/+$/, ""),
  });
  progress.note(`BABILong's ${tasks.join(", ")} of ${splits.join(", ")} are in ${folder}/babilong`);
}

if (import.meta.main) Deno.exit(await runScript(data));
