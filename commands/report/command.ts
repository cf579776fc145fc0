/**
 * The flags of `report`.
 *
 * @module
 */
import { isFile } from "../../lib/files.ts";
import { defineCommand } from "../shared/command.ts";
import { textFlag, textsFlag } from "../shared/flags.ts";

/** `report`. */
export const REPORT = defineCommand({
  name: "report",
  summary: "write one HTML file about experiments, sweeps and thresholds",
  positionals: "exp",
  flags: {
    exp: textsFlag({
      short: "-e",
      value: "EXP...",
      required: true,
      help: "experiments' folders, or their names in --output_dir; may stand without the flag; " +
        "differences are those from the first. Also folders of sweep, and files of calibrate, " +
        "whose shares are shown head by head",
    }),
    output_path: textFlag({
      short: "-o",
      value: "FILE",
      default: "report.html",
      help: "the file to write",
    }),
    output_dir: textFlag({ value: "FOLDER", default: "results", help: "folder of all results" }),
  },
  notes: [
    "The file needs no network and no other file. Its charts are drawn by npm:vega and " +
    "npm:vega-lite, which are fetched when they are first needed.",
  ],
  run: async (flags, { screen }) => {
    const { writeReport } = await import("./report.ts");
    const { experimentNamed } = await import("../ruler/gather.ts");
    const { checkOutputFile } = await import("../shared/output_file.ts");
    await checkOutputFile(flags.output_path, {
      kind: "a page in HTML",
      isOwn: (begin) => /^\s*<!doctype html>/i.test(begin),
    });
    const folders: string[] = [];
    for (const exp of flags.exp) {
      folders.push(await isFile(exp) ? exp : await experimentNamed(exp, flags.output_dir));
    }
    await writeReport({ folders, outputPath: flags.output_path });
    screen.print(`${flags.output_path}\n`);
  },
});
