/**
 * What lies in a model's repository on the Hugging Face hub, by its HTTP interface
 * (`/api/models/NAME/revision/REVISION` and `/NAME/resolve/COMMIT/FILE`).
 *
 * @module
 */
import { readBody } from "../../lib/bounded_body.ts";
import { FileError } from "../../lib/errors.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import type { FileCheck } from "./check.ts";
import { type Patience, request, withoutPassword } from "./http.ts";

/** Which repository, and how it is asked. */
export interface HubOptions {
  /** The hub's address, without a slash at its end. */
  readonly endpoint: string;
  /** `owner/name`; old ones have no owner. */
  readonly name: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** Proves who asks; sent to `endpoint` only. */
  readonly token: string | undefined;
  readonly patience: Patience;
  /** Told of failures that are tried again. */
  readonly note: (text: string) => void;
}

/** A file of a repository. */
export interface HubFile {
  readonly name: string;
  readonly address: string;
  readonly check: FileCheck;
}

/** A repository of ten thousand files has a list of some 3 MB. */
const MAX_LIST_BYTES = 2 ** 25;

/** The headers of every request. */
export function hubHeaders({ token }: Pick<HubOptions, "token">): Record<string, string> {
  return token === undefined ? {} : { Authorization: `Bearer ${token}` };
}

/** What to do where the hub lets nobody in. */
export function accessHint({ endpoint, name, token }: Omit<HubOptions, "note">): string {
  const hub = withoutPassword(endpoint);
  const page = `${hub}/${name}`;
  return token === undefined
    ? `check the name; if the model is gated, accept its licence at ${page} and give a token of ` +
      `${hub}/settings/tokens with --token or HF_TOKEN`
    : `check the name; if the model is gated, accept its licence at ${page} with the account of ` +
      "the token, which must be allowed to read it";
}

/**
 * Lists the files of a repository as they are in one commit.
 *
 * @param options Which repository.
 * @returns Its files; small ones are known by git's hash, large ones by their SHA-256.
 * @throws {FileError} If it cannot be had, or the answer is none of a hub.
 */
export async function listModel(options: HubOptions): Promise<readonly HubFile[]> {
  return await listRepository({ ...options, kind: "models" });
}

/** As {@linkcode listModel}, for repositories of models or of data sets. */
export async function listRepository(
  options: HubOptions & { kind: "models" | "datasets" },
): Promise<readonly HubFile[]> {
  const { endpoint, name, revision, kind } = options;
  const label = `the list of files of ${name}`;
  const address = `${endpoint}/api/${kind}/${name}/revision/${
    encodeURIComponent(revision)
  }?blobs=true`;
  const text = await request(address, async (response) => {
    const body = await readBody(response, { maxBytes: MAX_LIST_BYTES, label });
    return new TextDecoder().decode(body);
  }, {
    note: options.note,
    label,
    patience: options.patience,
    headers: hubHeaders(options),
    accessHint: accessHint(options),
  });
  const refuse = (found: string): FileError =>
    new FileError(
      `Cannot use ${label} as ${withoutPassword(address)} must answer like a hub: ${found}`,
    );
  const value = parse(text);
  if (!isJsonObject(value)) throw refuse("it is no JSON object");
  const { sha: commit, siblings } = value;
  if (typeof commit !== "string" || !/^[0-9a-f]{7,64}$/.test(commit)) {
    throw refuse("it names no commit");
  }
  if (!Array.isArray(siblings)) throw refuse("it lists no files");
  return siblings.map((entry): HubFile => {
    if (!isJsonObject(entry) || typeof entry.rfilename !== "string") {
      throw refuse("a file has no name");
    }
    const file = entry.rfilename;
    const path = file.split("/").map(encodeURIComponent).join("/");
    const check = checkOf(entry);
    if (check === undefined) throw refuse(`${file} has neither size nor hash`);
    return {
      name: file,
      address: `${endpoint}/${
        kind === "models" ? "" : "datasets/"
      }${name}/resolve/${commit}/${path}`,
      check,
    };
  });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** What the list says of a file's content; `undefined` if that is not enough. */
function checkOf(entry: Record<string, unknown>): FileCheck | undefined {
  const { size, blobId, lfs } = entry;
  if (isJsonObject(lfs)) {
    const { size: bytes, sha256: hex } = lfs;
    if (!isSize(bytes) || typeof hex !== "string" || !/^[0-9a-f]{64}$/.test(hex)) return undefined;
    return { bytes, digest: { kind: "sha256", hex } };
  }
  if (!isSize(size) || typeof blobId !== "string" || !/^[0-9a-f]{40}$/.test(blobId)) {
    return undefined;
  }
  return { bytes: size, digest: { kind: "git-blob", hex: blobId } };
}

function isSize(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
