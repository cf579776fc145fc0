/**
 * Keeps a second run out of a folder or file of results while a first one writes there.
 *
 * The lock is the system's (flock), on a file that also says who holds it: the system takes it back
 * when its process ends, however that ends, and Linux passes it on to an NFS server, so that other
 * machines see it. Where a file system has no locks the file itself is the lock, and counts as
 * stale once the process that it names has ended on this machine.
 *
 * @module
 */
import { UsageError } from "../../lib/errors.ts";
import { readRange } from "../../lib/file_range.ts";
import { writing } from "../../lib/files.ts";
import { hostName } from "../../lib/host_name.ts";
import { isJsonObject } from "../../lib/text_file.ts";

/** Who holds a lock. */
interface Holder {
  readonly host: string;
  readonly pid: number;
  /** ISO 8601. */
  readonly started: string;
}

const MAX_HOLDER_BYTES = 1 << 12;
const RETRY_MS = 20;

/** How to take a lock. */
export interface LockOptions {
  /**
   * How long to wait for another one to give it back.
   *
   * @default {0}
   */
  readonly timeoutMs?: number;
  /** Takes the system's lock on an opened file; tests pass one that a file system refuses. */
  readonly tryLock?: (file: Deno.FsFile) => Promise<boolean>;
}

/** A held lock; disposal gives it back. */
export class RunLock implements AsyncDisposable {
  readonly #file: Deno.FsFile;
  readonly #path: string;
  #isHeld = true;

  private constructor(file: Deno.FsFile, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /**
   * Takes a lock, or says who has it.
   *
   * @param path The lock's file; made here, removed on disposal.
   * @param options `what`: what is locked, for the message.
   * @throws {UsageError} If another run has it: the message names its host, process and start.
   * @throws {FileError} If the file cannot be written.
   */
  static async take(
    path: string,
    options: LockOptions & { readonly what: string },
  ): Promise<RunLock> {
    const lock = await RunLock.tryTake(path, options);
    if (lock !== undefined) return lock;
    throw heldError(options.what, { path, holder: await readHolder(path) });
  }

  /**
   * Takes a lock, if nobody has it.
   *
   * @returns Undefined if another run has it.
   * @throws {FileError} If the file cannot be written.
   */
  static async tryTake(path: string, options: LockOptions = {}): Promise<RunLock | undefined> {
    const { timeoutMs = 0, tryLock = (file) => file.tryLock(true) } = options;
    const endMs = performance.now() + timeoutMs;
    for (;;) {
      const file = await openFile(path);
      try {
        const isOurs = await tryLock(file).catch((error) => withoutSystem(error, file));
        if (!isOurs) {
          file.close();
          if (performance.now() >= endMs) return undefined;
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
          continue;
        }
        // The one who had it may have removed the file between our opening and our lock.
        if (!(await isSameFile(file, path))) {
          file.close();
          continue;
        }
        await writeHolder(file, path);
        return new RunLock(file, path);
      } catch (error) {
        if (isOpen(file)) file.close();
        throw error;
      }
    }
  }

  /** Gives the lock back; a second call does nothing. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    // Removed while it is held: whoever opened it in between sees that it is gone.
    if (await isSameFile(this.#file, this.#path).catch(() => false)) {
      await Deno.remove(this.#path).catch(() => {});
    }
    this.#file.close();
  }
}

async function openFile(path: string): Promise<Deno.FsFile> {
  return await writing(path, () => Deno.open(path, { read: true, write: true, create: true }));
}

function isOpen(file: Deno.FsFile): boolean {
  try {
    file.statSync();
    return true;
  } catch {
    return false;
  }
}

/** Without locks of the system, the content of the file decides. */
async function withoutSystem(_error: unknown, file: Deno.FsFile): Promise<boolean> {
  const holder = parseHolder(new TextDecoder().decode(await readAll(file)));
  return holder === undefined || (holder.host === hostName() && !(await isAlive(holder.pid)));
}

async function readAll(file: Deno.FsFile): Promise<Uint8Array> {
  const { size } = await file.stat();
  return await readRange(file, { begin: 0, end: Math.min(size, MAX_HOLDER_BYTES) });
}

async function isAlive(pid: number): Promise<boolean> {
  const { Libc } = await import("../../lib/ffi/libc.ts");
  using libc = new Libc();
  return libc.processExists(pid);
}

async function isSameFile(file: Deno.FsFile, path: string): Promise<boolean> {
  const [held, named] = [await file.stat(), await Deno.stat(path).catch(() => undefined)];
  return named !== undefined && held.ino === named.ino && held.dev === named.dev;
}

async function writeHolder(file: Deno.FsFile, path: string): Promise<void> {
  const holder: Holder = {
    host: hostName(),
    pid: Deno.pid,
    started: new Date().toISOString(),
  };
  await writing(path, async () => {
    await file.truncate(0);
    await file.seek(0, Deno.SeekMode.Start);
    await file.write(new TextEncoder().encode(`${JSON.stringify(holder)}\n`));
    await file.sync();
  });
}

/** The holder may be just about to write its name. */
async function readHolder(path: string): Promise<Holder | undefined> {
  for (let tries = 0; tries < 10; tries++) {
    const text = await Deno.readTextFile(path).catch(() => "");
    const holder = parseHolder(text);
    if (holder !== undefined) return holder;
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
  return undefined;
}

function parseHolder(text: string): Holder | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (!isJsonObject(value)) return undefined;
    const { host, pid, started } = value;
    if (typeof host !== "string" || typeof pid !== "number" || typeof started !== "string") {
      return undefined;
    }
    return { host, pid, started };
  } catch {
    return undefined;
  }
}

function heldError(
  what: string,
  facts: { path: string; holder: Holder | undefined },
): UsageError {
  const { path, holder } = facts;
  const who = holder === undefined
    ? "another process"
    : `process ${holder.pid} on ${holder.host}, started ${holder.started}`;
  return new UsageError(
    `${what}: is in use by another run: ${who} (its lock is ${path}); wait for its end, or take ` +
      "another folder or file",
  );
}
