/**
 * The secret that the ranks of a run have in common where no launcher vouches for them.
 *
 * @module
 */
import { environmentVariable } from "../environment.ts";
import { errorText, FileError } from "../errors.ts";

/** Holds the secret itself. */
const JOB_KEY_VARIABLE = "STARX_JOB_KEY";

/** No secret is longer; whatever is, is another file. */
const MAX_BYTES = 1 << 16;

/**
 * Reads the secret: that of a file if one is named, else of the environment.
 *
 * @param path The file; blanks and line ends around its text do not count.
 * @returns Undefined if there is none.
 * @throws {FileError} If the file cannot be read.
 */
export async function readJobSecret(
  path: string | undefined,
): Promise<Uint8Array<ArrayBuffer> | undefined> {
  const text = path === undefined ? environmentVariable(JOB_KEY_VARIABLE) : await readFile(path);
  return text === undefined ? undefined : new TextEncoder().encode(text.trim());
}

async function readFile(path: string): Promise<string> {
  let bytes: number;
  try {
    bytes = (await Deno.stat(path)).size;
    if (bytes <= MAX_BYTES) return await Deno.readTextFile(path);
  } catch (error) {
    throw new FileError(`Cannot read the job key ${path}: ${errorText(error)}`, { cause: error });
  }
  throw new FileError(
    `Cannot read the job key ${path} as it must have at most ${MAX_BYTES} bytes: ` +
      `current value is ${bytes}`,
  );
}
