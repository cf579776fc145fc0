/**
 * Fills the data folder with RULER's source data, from the network or from local copies.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { errorText, FileError } from "../../lib/errors.ts";
import { type FileCheck, isIntact, WrongBytesError } from "./check.ts";
import type { DataArchive, DataFile } from "./data_files.ts";
import { fetchFile } from "./fetch_file.ts";
import type { Patience } from "./http.ts";
import { PartFile } from "./part_file.ts";
import { formatBytes, type Progress } from "./progress.ts";
import { readZip } from "./zip.ts";

/** Options of {@linkcode downloadData}. */
export interface DownloadDataOptions {
  readonly files: readonly DataFile[];
  /** Holds the files without an address. */
  readonly archive: DataArchive;
  /** An address below which files and archive lie under their names, instead of their own ones. */
  readonly mirror?: string;
  readonly progress: Progress;
  readonly patience: Patience;
}

/**
 * Downloads the files that are not there yet. If one cannot be had, the others are fetched all the
 * same, as most tasks need few of them.
 *
 * @param folder The data folder; it is created.
 * @param options What is downloaded.
 * @throws {FileError} If a file cannot be had or written, or has other content than the known one.
 */
export async function downloadData(folder: string, options: DownloadDataOptions): Promise<void> {
  const { files, progress, patience } = options;
  const failures: FileError[] = [];
  const attempt = async (run: () => Promise<unknown>): Promise<void> => {
    try {
      await run();
    } catch (error) {
      if (!(error instanceof FileError)) throw error;
      failures.push(error);
    }
  };
  const packed: DataFile[] = [];
  for (const file of files) {
    const { name, check } = file;
    const addresses = addressesOf(file, options.mirror);
    if (addresses.length === 0) packed.push(file);
    else {
      const path = `${folder}/${name}`;
      await attempt(() => fetchFile(path, addresses, { check, label: name, progress, patience }));
    }
  }
  if (packed.length > 0) await attempt(() => downloadPacked(folder, packed, options));
  const [first] = failures;
  if (first === undefined) return;
  if (failures.length === 1) throw first;
  throw new FileError(failures.map(errorText).join("; "), { cause: failures });
}

/** Where a file, or an archive, can be had. */
function addressesOf(
  { name, addresses }: Pick<DataFile, "name" | "addresses">,
  mirror: string | undefined,
): readonly string[] {
  if (mirror === undefined || addresses.length === 0) return addresses;
  return [`${mirror.replace(/\/+$/, "")}/${name}`];
}

/** Downloads the archive if one of its files is missing, and unpacks them. */
async function downloadPacked(
  folder: string,
  files: readonly DataFile[],
  options: DownloadDataOptions,
): Promise<void> {
  const { archive, progress, patience } = options;
  const intact = await Promise.all(
    files.map(({ name, check }) => isIntact(`${folder}/${name}`, check)),
  );
  if (intact.every(Boolean)) {
    for (const { name } of files) progress.note(`${name}: already there`);
    return;
  }
  const path = `${folder}/${archive.name}`;
  // Only its members are fixed: the archive may be packed anew.
  const addresses = addressesOf(archive, options.mirror);
  await fetchFile(path, addresses, {
    ...{ check: {}, label: archive.name, progress, patience },
    maxBytes: archive.maxBytes,
  });
  try {
    const members = readZip(await Deno.readFile(path), {
      label: archive.name,
      wanted: new Set(files.map(({ name }) => name)),
      maxMemberBytes: archive.maxMemberBytes,
    });
    for (const { name, check } of files) {
      const content = members.get(name);
      if (content === undefined) {
        throw new FileError(`Cannot unpack ${archive.name} as it must hold ${name}: it does not`);
      }
      await writeWhole(`${folder}/${name}`, [content], { check });
      progress.note(`${name}: unpacked ${formatBytes(content.length)}`);
    }
  } finally {
    await Deno.remove(path);
  }
}

/** Options of {@linkcode importData}. */
export interface ImportDataOptions {
  readonly files: readonly DataFile[];
  readonly progress: Progress;
}

/**
 * Copies files from a local folder of the data folder's layout. All are checked before the first one
 * is copied.
 *
 * @param source Where the copies lie.
 * @param folder The data folder; it is created.
 * @param options What is copied.
 * @throws {FileError} If a copy is missing or has other content than the known one (question sets
 * may be shortened ones), or a file cannot be written.
 */
export async function importData(
  source: string,
  folder: string,
  options: ImportDataOptions,
): Promise<void> {
  const { files, progress } = options;
  const checks: FileCheck[] = [];
  for (const file of files) checks.push(await checkCopy(`${source}/${file.name}`, file));
  for (const [index, { name, check: official }] of files.entries()) {
    const check = checks[index] ?? official;
    const isOfficial = check === official;
    const bytes = await writeWhole(`${folder}/${name}`, readChunks(`${source}/${name}`), { check });
    const remark = isOfficial ? "" : " (not the official file)";
    progress.note(`${name}: copied ${formatBytes(bytes)}${remark}`);
  }
}

/** What a copy must hold; throws if it is neither the known content nor an accepted other one. */
async function checkCopy(path: string, file: DataFile): Promise<FileCheck> {
  const check = { bytes: 0, hex: "" };
  try {
    const hash = createHash("sha256");
    for await (const chunk of readChunks(path)) {
      hash.update(chunk);
      check.bytes += chunk.length;
    }
    check.hex = hash.digest("hex");
  } catch (error) {
    throw new FileError(`Cannot import ${path}: ${errorText(error)}`, { cause: error });
  }
  const { bytes, digest } = file.check;
  if (check.bytes === bytes && check.hex === digest.hex) return file.check;
  if (file.acceptsCopy === undefined) {
    throw new WrongBytesError(
      `Cannot import ${path} as its content must be the known one (${bytes} bytes, SHA-256 ` +
        `${digest.hex}): found ${check.bytes} bytes, SHA-256 ${check.hex}`,
    );
  }
  if (!file.acceptsCopy(await parseFile(path))) {
    throw new FileError(
      `Cannot import ${path} as it must hold questions in the form of the official file`,
    );
  }
  return { bytes: check.bytes, digest: { kind: "sha256", hex: check.hex } };
}

async function parseFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await Deno.readTextFile(path));
  } catch (error) {
    throw new FileError(`Cannot import ${path}: it is not JSON (${errorText(error)})`, {
      cause: error,
    });
  }
}

async function* readChunks(path: string): AsyncGenerator<Uint8Array> {
  using file = await Deno.open(path);
  const chunk = new Uint8Array(1 << 20);
  for (let read = await file.read(chunk); read !== null; read = await file.read(chunk)) {
    yield chunk.subarray(0, read);
  }
}

/** Writes a file that is whole or not there; its size in bytes. */
async function writeWhole(
  path: string,
  content: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  options: { check: FileCheck },
): Promise<number> {
  using part = await PartFile.open(path, options);
  await part.restart();
  try {
    for await (const chunk of content) await part.append(chunk);
    await part.finish();
  } catch (error) {
    await part.discard();
    throw error;
  }
  return part.bytes;
}
