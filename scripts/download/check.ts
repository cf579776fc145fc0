/**
 * What is known of a file before it is downloaded, and whether a file fits it.
 *
 * @module
 */
import { createHash, type Hash } from "node:crypto";
import { errorText, FileError } from "../../lib/errors.ts";

/** A fixed hash of a file's content. */
export interface Digest {
  /** `git-blob` is SHA-1 over git's header and the content, as hubs list it for small files. */
  readonly kind: "sha256" | "git-blob";
  /** Hexadecimal digits in lower case. */
  readonly hex: string;
}

/** What is known of a file's content. */
export interface FileCheck {
  /** Its exact size. */
  readonly bytes?: number;
  readonly digest?: Digest;
}

/** Content that is not what was asked for, as opposed to content that is incomplete. */
export class WrongBytesError extends FileError {
  override name = "WrongBytesError";
}

/**
 * A hash to feed the content to.
 *
 * @param check What the content will be compared with; `git-blob` needs its size.
 */
export function startHash(check: FileCheck): Hash {
  if (check.digest?.kind !== "git-blob") return createHash("sha256");
  return createHash("sha1").update(`blob ${check.bytes ?? 0}\0`);
}

/**
 * Compares content with what is known of it.
 *
 * @param name The file's name for the message.
 * @param found Its size and hash.
 * @param options What is known.
 * @throws {WrongBytesError} If they differ.
 */
export function compareContent(
  name: string,
  found: { readonly bytes: number; readonly hex: string },
  options: { check: FileCheck },
): void {
  const { bytes, digest } = options.check;
  const isAsLong = bytes === undefined || bytes === found.bytes;
  if (isAsLong && (digest === undefined || digest.hex === found.hex)) return;
  const kind = digest?.kind === "git-blob" ? "git's SHA-1" : "SHA-256";
  const expected = digest === undefined ? "" : `, ${kind} ${digest.hex}`;
  const actual = digest === undefined ? "" : `, ${kind} ${found.hex}`;
  throw new WrongBytesError(
    `Cannot use ${name} as its content must be the known one ` +
      `(${bytes ?? "any number of"} bytes${expected}): found ${found.bytes} bytes${actual}`,
  );
}

/**
 * Whether a file is there with the known content.
 *
 * @param path The file.
 * @param check What is known; without a size and a hash no file is known to be intact.
 */
export async function isIntact(path: string, check: FileCheck): Promise<boolean> {
  if (check.bytes === undefined && check.digest === undefined) return false;
  try {
    using file = await Deno.open(path);
    const { size, isFile } = await file.stat();
    if (!isFile || (check.bytes !== undefined && check.bytes !== size)) return false;
    const hex = await hashFile(file, startHash(check));
    return check.digest === undefined || check.digest.hex === hex;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new FileError(`Cannot read ${path}: ${errorText(error)}`, { cause: error });
  }
}

/** Feeds a file, from where it stands to its end, to a hash; the hash in hexadecimal digits. */
async function hashFile(file: Deno.FsFile, hash: Hash): Promise<string> {
  await feed(file, hash);
  return hash.digest("hex");
}

/**
 * Feeds a file, from where it stands to its end, to a hash.
 *
 * @param file An open file.
 * @param hash Where its bytes go.
 */
export async function feed(file: Deno.FsFile, hash: Hash): Promise<void> {
  const chunk = new Uint8Array(1 << 20);
  for (let read = await file.read(chunk); read !== null; read = await file.read(chunk)) {
    hash.update(chunk.subarray(0, read));
  }
}
