/**
 * Downloads one file so that it is whole or not there: dropped connections are retried and continued
 * by HTTP range requests (RFC 9110, section 14), the content is checked, the name comes last.
 *
 * @module
 */
import { errorText, FileError } from "../../lib/errors.ts";
import { type FileCheck, isIntact, WrongBytesError } from "./check.ts";
import { type Patience, pause, refusal, StallWatch, TransferError, transferError } from "./http.ts";
import { PartFile } from "./part_file.ts";
import { formatBytes, type Progress } from "./progress.ts";

/** Options of {@linkcode fetchFile}. */
export interface FetchFileOptions {
  /** What is known of the content. */
  readonly check: FileCheck;
  readonly progress: Progress;
  readonly patience: Patience;
  /** A name for people. */
  readonly label: string;
  /**
   * Content that grows beyond it is given up and removed; that of a known size needs none.
   *
   * @default {Infinity}
   */
  readonly maxBytes?: number;
  /** Added to every request; a redirect to another host does not carry `Authorization`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Said if the server lets nobody in. */
  readonly accessHint?: string;
}

/** Attempts at an address that is not the last one: waiting costs more than asking the next. */
const ATTEMPTS_BEFORE_NEXT = 2;

/**
 * Downloads a file unless it is there with the known content.
 *
 * @param path Where it goes; its folder is created.
 * @param addresses Where it comes from: the next one is asked if one fails.
 * @param options What is known, and how it is reported.
 * @returns Whether it was downloaded (false: it was there).
 * @throws {FileError} If no address gives it, the content is wrong, or it cannot be written. What
 * was received stays as `<path>.part` for a later run, unless it is wrong.
 */
export async function fetchFile(
  path: string,
  addresses: readonly string[],
  options: FetchFileOptions,
): Promise<boolean> {
  const { label, progress } = options;
  if (await isIntact(path, options.check)) {
    progress.note(`${label}: already there`);
    return false;
  }
  using part = await PartFile.open(path, options);
  const failures: FileError[] = [];
  for (const [i, address] of addresses.entries()) {
    const { attempts } = options.patience;
    const isLast = i === addresses.length - 1;
    try {
      await fetchFrom(address, part, {
        ...options,
        attempts: isLast ? attempts : Math.min(attempts, ATTEMPTS_BEFORE_NEXT),
      });
      await part.finish();
      progress.note(`${label}: fetched ${formatBytes(part.bytes)}`);
      return true;
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      if (error instanceof WrongBytesError) await part.restart();
      failures.push(error);
    }
  }
  if (part.bytes === 0) await part.discard();
  const [first, ...others] = failures;
  if (first !== undefined && others.length === 0) throw first;
  throw new FileError(failures.map(errorText).join("; "), { cause: failures });
}

/** Brings the whole, verified content from one address into the part. */
async function fetchFrom(
  address: string,
  part: PartFile,
  options: FetchFileOptions & { attempts: number },
): Promise<void> {
  const { attempts } = options;
  let mostBytes = part.bytes;
  let failureCount = 0;
  let wasContinued = part.bytes > 0;
  while (true) {
    try {
      if (part.bytes === 0 || part.bytes !== options.check.bytes) {
        await transfer(address, part, options);
      }
      part.verify();
      return;
    } catch (error) {
      if (error instanceof WrongBytesError && wasContinued) {
        // The first piece may be of another version; only a download in one piece can tell.
        wasContinued = false;
        mostBytes = 0;
        await part.restart();
        continue;
      }
      if (!(error instanceof TransferError)) throw error;
      failureCount = part.bytes > mostBytes ? 1 : failureCount + 1;
      mostBytes = Math.max(mostBytes, part.bytes);
      wasContinued = part.bytes > 0;
      if (failureCount >= attempts) {
        throw new FileError(`${error.message} (${attempts} attempts)`, { cause: error });
      }
      options.progress.note(error.message);
    }
    await pause(options.patience, { failureCount, label: options.label, note: notes(options) });
  }
}

function notes({ progress }: FetchFileOptions): (text: string) => void {
  return (text) => progress.note(text);
}

/** One request: continues the part, or starts it again if the server sends everything. */
async function transfer(
  address: string,
  part: PartFile,
  options: FetchFileOptions,
): Promise<void> {
  const { label, progress } = options;
  using watch = new StallWatch(options.patience.stallMs);
  const failed = (error: unknown) => transferError(error, { label, reason: watch.reason });
  const response = await request(address, part, { ...options, signal: watch.signal })
    .catch((error) => {
      throw failed(error);
    });
  const body = response.body?.getReader();
  try {
    const totalBytes = await acceptResponse(response, part, { ...options, address });
    while (body !== undefined) {
      const { value, done } = await body.read().catch((error) => {
        throw failed(error);
      });
      if (done) break;
      watch.reset();
      await part.append(value);
      if (part.bytes > (options.maxBytes ?? Infinity)) {
        throw new WrongBytesError(
          `Cannot download ${label} as it may have at most ${options.maxBytes} bytes: more came`,
        );
      }
      if (totalBytes !== undefined && part.bytes > totalBytes) part.verify();
      progress.update(label, { doneBytes: part.bytes, totalBytes });
    }
    if (totalBytes !== undefined && part.bytes < totalBytes) {
      throw failed(`the connection ended after ${part.bytes} of ${totalBytes} bytes`);
    }
  } finally {
    await body?.cancel().catch(() => undefined);
  }
}

async function request(
  address: string,
  part: PartFile,
  options: FetchFileOptions & { signal: AbortSignal },
): Promise<Response> {
  // Ranges count the bytes as they are sent, so nothing may compress them on the way.
  const headers = new Headers({ ...options.headers, "Accept-Encoding": "identity" });
  if (part.bytes > 0) headers.set("Range", `bytes=${part.bytes}-`);
  return await fetch(address, { headers, signal: options.signal });
}

/**
 * Prepares the part for the body of a response.
 *
 * @returns The size of the whole file, if it is known.
 */
async function acceptResponse(
  response: Response,
  part: PartFile,
  options: FetchFileOptions & { address: string },
): Promise<number | undefined> {
  const { check, address, label } = options;
  if (response.status === 206 && part.bytes > 0) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("Content-Range") ?? "");
    if (range !== null && Number(range[1]) === part.bytes) {
      return check.bytes ?? (range[2] === "*" ? undefined : Number(range[2]));
    }
  } else if (response.status === 200) {
    if (part.bytes > 0) await part.restart();
    const length = response.headers.get("Content-Length");
    const offered = length === null ? undefined : Number(length);
    if (check.bytes !== undefined && offered !== undefined && offered !== check.bytes) {
      throw new WrongBytesError(
        `Cannot download ${label} as it must have ${check.bytes} bytes: ${address} offers ${offered}`,
      );
    }
    return check.bytes ?? offered;
  } else if (response.status !== 416 || part.bytes === 0) throw refusal(response, options);
  // The server does not understand what is there, so the next attempt starts from nothing.
  await part.restart();
  throw new TransferError(`Cannot download ${label}: ${address} sends another range`);
}
