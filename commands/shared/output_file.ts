/**
 * A file that a command makes where its user says: what may be replaced by it.
 *
 * @module
 */
import { errorText, FileError, UsageError } from "../../lib/errors.ts";

/** No beginning of a result that tells it from other files is longer. */
const BEGIN_BYTES = 1 << 16;

/**
 * Looks at a file before anything is computed for it: it must not be there, be empty, or be an earlier
 * result of the same kind.
 *
 * @param path Where `--output_path` puts the result.
 * @param options `kind`: what results are called. `isOwn`: whether a file that begins with this text is
 * one. `inputs`: files that are read, or folders of them, by their flags.
 * @throws {UsageError} If the result would replace something else.
 * @throws {FileError} If the file cannot be read.
 */
export async function checkOutputFile(
  path: string,
  options: {
    kind: string;
    isOwn: (begin: string) => boolean;
    inputs?: Readonly<Record<string, string | undefined>>;
  },
): Promise<void> {
  const { kind, isOwn, inputs = {} } = options;
  const real = await realPath(path);
  if (real === undefined) return;
  for (const [flag, input] of Object.entries(inputs)) {
    const other = input === undefined ? undefined : await realPath(input);
    if (other === undefined || (real !== other && !real.startsWith(`${other}/`))) continue;
    if (real !== other && await mayReplace(path, isOwn)) continue;
    throw refused(path, `must not be a file of ${flag}, which it would replace`);
  }
  if (!await mayReplace(path, isOwn)) {
    throw refused(path, `must be ${kind}, or no file that is there`);
  }
}

async function mayReplace(path: string, isOwn: (begin: string) => boolean): Promise<boolean> {
  const begin = await beginOf(path);
  return begin === "" || isOwn(begin);
}

function refused(path: string, what: string): UsageError {
  return new UsageError(`--output_path: ${what}: current value is ${path}`);
}

/** Undefined where nothing is. */
async function realPath(path: string): Promise<string | undefined> {
  try {
    return await Deno.realPath(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw new FileError(`Cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** The text at a file's beginning. @throws {UsageError} If it is no file. */
async function beginOf(path: string): Promise<string> {
  try {
    if (!(await Deno.stat(path)).isFile) throw refused(path, "must be a file");
    using file = await Deno.open(path);
    const bytes = new Uint8Array(BEGIN_BYTES);
    const count = await file.read(bytes) ?? 0;
    return new TextDecoder().decode(bytes.subarray(0, count));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new FileError(`Cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
}
