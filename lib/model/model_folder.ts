/**
 * A model by its folder or GGUF file, or by its name on the Hugging Face hub if it was fetched
 * before.
 *
 * @module
 */
import { basename, resolve } from "node:path";
import { environmentVariable } from "../environment.ts";
import { FileError } from "../errors.ts";
import { isFolder } from "../files.ts";
import { isGgufPath } from "./gguf/files.ts";

/** `owner/name` as the hub spells it. */
const HUB_NAME = /^[\w][\w.-]*\/[\w][\w.-]*$/;
/** A model in the cache of Hugging Face's programs. */
const CACHED = /[/\\]models--(.+?)--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$/;
/** Where `deno task model` puts models. */
export const MODELS_FOLDER = "hf_models";

/** The folder that `deno task model` makes for a model. */
export function fetchedFolder(name: string, folder: string = MODELS_FOLDER): string {
  return `${folder}/${name.replaceAll("/", "_")}`;
}

/**
 * Finds a model's folder, or its GGUF file.
 *
 * @param named A folder, a GGUF file, or a model's name on the hub: then its folder in `hf_models`, or in the
 * cache of Hugging Face's own programs (`HF_HUB_CACHE`, `HF_HOME`, `~/.cache/huggingface`).
 * @returns A path; what is no name of the hub is returned as it is.
 * @throws {FileError} If it is a name of the hub, and the model is not on this machine.
 */
export async function findModelFolder(named: string): Promise<string> {
  if (isGgufPath(named) || !HUB_NAME.test(named) || await isFolder(named)) return named;
  const own = fetchedFolder(named);
  if (await isFolder(own)) return own;
  const cached = await cachedSnapshot(named);
  if (cached !== undefined) return cached;
  throw new FileError(
    `Cannot find the model ${named}: there is no such folder, and it is neither in ${MODELS_FOLDER} ` +
      `nor in Hugging Face's cache ('deno task model --name ${named}' fetches it)`,
  );
}

/**
 * What a model is called where nobody names it: the hub's name of one in the cache of Hugging Face's
 * programs, whose folder is called by a commit, or the name of its folder or GGUF file.
 */
export function modelNameOf(path: string): string {
  const full = resolve(path);
  const [, owner, name] = CACHED.exec(full) ?? [];
  return owner === undefined ? basename(full) : `${owner}/${name}`;
}

/** The newest revision of a model in Hugging Face's cache. */
async function cachedSnapshot(name: string): Promise<string | undefined> {
  const hub = hubCache();
  if (hub === undefined) return undefined;
  const folder = `${hub}/models--${name.replaceAll("/", "--")}`;
  const commit = await Deno.readTextFile(`${folder}/refs/main`).catch(() => "");
  if (!/^[0-9a-f]{7,64}$/.test(commit.trim())) return undefined;
  const snapshot = `${folder}/snapshots/${commit.trim()}`;
  return await isFolder(snapshot) ? snapshot : undefined;
}

function hubCache(): string | undefined {
  const cache = variable("HF_HUB_CACHE");
  if (cache !== undefined) return cache;
  const home = variable("HF_HOME");
  if (home !== undefined) return `${home}/hub`;
  const user = variable("HOME");
  return user === undefined ? undefined : `${user}/.cache/huggingface/hub`;
}

/** Whoever may not read the environment has no cache; an empty variable names none. */
function variable(name: string): string | undefined {
  return environmentVariable(name) || undefined;
}
