/**
 * A file that is being written under another name, so that nothing unfinished looks finished; what
 * was written can be continued later.
 *
 * @module
 */
import type { Hash } from "node:crypto";
import { FileError } from "../../lib/errors.ts";
import { writing } from "../../lib/files.ts";
import { compareContent, feed, type FileCheck, startHash } from "./check.ts";

/** The unfinished form of one file: `<path>.part`. */
export class PartFile implements Disposable {
  readonly #path: string;
  readonly #check: FileCheck;
  readonly #file: Deno.FsFile;
  #hash: Hash;
  #bytes = 0;
  #disposed = false;

  private constructor(path: string, options: { check: FileCheck; file: Deno.FsFile }) {
    this.#path = path;
    this.#check = options.check;
    this.#file = options.file;
    this.#hash = startHash(options.check);
  }

  /**
   * Opens the unfinished form of a file. What an earlier run left is kept only if the content's
   * hash is known: pieces of two versions could not be told apart otherwise.
   *
   * @param path The finished file; its folder is created.
   * @param options What is known of the content.
   * @throws {FileError} If it cannot be written, or another process is writing it.
   */
  static async open(path: string, options: { check: FileCheck }): Promise<PartFile> {
    const { check } = options;
    return await writing(path, async () => {
      const folder = path.replace(/\/?[^/]*$/, "");
      if (folder !== "") await Deno.mkdir(folder, { recursive: true });
      const file = await openOwn(path);
      const part = new PartFile(path, { check, file });
      if (!(await file.tryLock(true))) {
        part[Symbol.dispose]();
        throw new FileError(`Cannot write ${path}: another process is downloading it`);
      }
      if (check.digest === undefined) await part.restart();
      else await part.#readEarlier();
      return part;
    });
  }

  /** How many bytes it holds. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Adds content at its end. Throws {@linkcode FileError} if the disk is full or fails. */
  async append(content: Uint8Array): Promise<void> {
    await writing(this.#path, async () => {
      for (let at = 0; at < content.length;) at += await this.#file.write(content.subarray(at));
    });
    this.#hash.update(content);
    this.#bytes += content.length;
  }

  /** Drops what it holds. */
  async restart(): Promise<void> {
    await writing(this.#path, async () => {
      await this.#file.truncate(0);
      await this.#file.seek(0, Deno.SeekMode.Start);
    });
    this.#hash = startHash(this.#check);
    this.#bytes = 0;
  }

  /** Throws {@linkcode WrongBytesError} if its content is not the known one. */
  verify(): void {
    const hex = this.#hash.copy().digest("hex");
    compareContent(this.#path, { bytes: this.#bytes, hex }, { check: this.#check });
  }

  /** Gives verified content its final name, once it is on the disk. */
  async finish(): Promise<void> {
    this.verify();
    await writing(this.#path, async () => {
      await this.#file.syncData();
      await Deno.rename(`${this.#path}.part`, this.#path);
    });
    this[Symbol.dispose]();
  }

  /** Removes it. */
  async discard(): Promise<void> {
    await writing(this.#path, () => Deno.remove(`${this.#path}.part`));
    this[Symbol.dispose]();
  }

  /** Closes it; what it holds stays for a later run. */
  [Symbol.dispose](): void {
    if (this.#disposed) return;
    this.#disposed = true;
    this.#file.close();
  }

  async #readEarlier(): Promise<void> {
    const { size } = await this.#file.stat();
    if (this.#check.bytes !== undefined && size > this.#check.bytes) return await this.restart();
    await feed(this.#file, this.#hash);
    this.#bytes = size;
  }
}

/**
 * Opens the unfinished form without following a link, as whoever plants one chooses what is written over: one that
 * is there, or a new one.
 */
async function openOwn(finished: string): Promise<Deno.FsFile> {
  const path = `${finished}.part`;
  const before = await Deno.lstat(path).catch((error) => {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  });
  const options = { read: true, write: true };
  if (before === undefined) return await Deno.open(path, { ...options, createNew: true });
  if (!before.isFile) {
    throw new FileError(`Cannot write ${finished}: ${path} is there, and is no plain file`);
  }
  const file = await Deno.open(path, options);
  const { ino, dev } = await file.stat();
  if (ino === before.ino && dev === before.dev) return file;
  file.close();
  throw new FileError(`Cannot write ${finished}: ${path} was replaced a moment ago`);
}
