/**
 * Notices weight files that change while they are mapped: what is computed from then on would be
 * another model's, under the name of the first.
 *
 * @module
 */
import { FileError } from "../errors.ts";
import { readError } from "../files.ts";
import { configPath, tokenizerPath } from "./model_paths.ts";
import { listWeightFiles } from "./weight_files.ts";

/** What tells one state of a file from another. */
interface FileState {
  readonly path: string;
  readonly facts: Readonly<Record<"size" | "time of change" | "inode", string>>;
}

/** The files of a model as they were when it was opened. */
export class WeightGuard {
  readonly #states: readonly FileState[];

  private constructor(states: readonly FileState[]) {
    this.#states = states;
  }

  /**
   * Remembers the files of a model.
   *
   * @throws {FileError} If one of them is missing.
   */
  static async open(folder: string): Promise<WeightGuard> {
    const { paths } = await listWeightFiles(folder);
    const all = new Set([configPath(folder), await tokenizerPath(folder), ...paths]);
    return new WeightGuard(await Promise.all([...all].map(stateOf)));
  }

  /**
   * Compares size, time of change and inode of each file with what they were.
   *
   * @throws {FileError} If one differs; the message names file and fact.
   */
  async check(): Promise<void> {
    for (const { path, facts } of this.#states) {
      const now = (await stateOf(path)).facts;
      for (const name of ["size", "inode", "time of change"] as const) {
        if (now[name] === facts[name]) continue;
        throw new FileError(
          `Cannot go on with ${path} as it changed while the model was in use: its ${name} was ` +
            `${facts[name]}: current value is ${now[name]} (--copy_weights reads weights into ` +
            "memory once)",
        );
      }
    }
  }
}

async function stateOf(path: string): Promise<FileState> {
  try {
    const { size, mtime, ino, dev } = await Deno.stat(path);
    return {
      path,
      facts: {
        size: `${size} bytes`,
        "time of change": mtime?.toISOString() ?? "unknown",
        inode: `${dev}:${ino}`,
      },
    };
  } catch (error) {
    throw readError(path, error);
  }
}
