/**
 * Fetches a model from the Hugging Face hub: what this project reads of it.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { removeFile } from "../../lib/files.ts";
import { isIntact } from "./check.ts";
import { fetchFile } from "./fetch_file.ts";
import { accessHint, type HubFile, hubHeaders, type HubOptions, listModel } from "./hub.ts";
import { formatBytes, type Progress } from "./progress.ts";

/** Options of {@linkcode downloadModel}. */
export interface DownloadModelOptions extends Omit<HubOptions, "note"> {
  readonly progress: Progress;
}

/** Without it a folder is no model, so it comes last. */
const CONFIG = "config.json";
const WEIGHTS = ["model.safetensors", "model.safetensors.index.json"];
/** Configuration, tokenizer, weights, and the texts that tell what may be done with them. */
const WANTED = /^(?!\.)[\w.+-]+\.(json|safetensors|txt|md|jinja)$|^(LICENSE|NOTICE|USE_POLICY)$/;
/** The same weights in forms that are not read here lie in subfolders, or have other endings. */
const UNWANTED = /^(consolidated|adapter)[.\w-]*\.safetensors$/;

/**
 * Downloads a model; what is there with the known content is kept.
 *
 * Until every other file is there, the folder holds no `config.json`, so that an unfinished model
 * cannot be loaded.
 *
 * @param folder The model's folder; it is created.
 * @param options Which model.
 * @throws {FileError} If the model is not there, closed, in a form that is not read here, or a file
 * cannot be had or written, or has other content than the hub's list says.
 */
export async function downloadModel(folder: string, options: DownloadModelOptions): Promise<void> {
  const { name, progress, patience } = options;
  const files = wantedFiles(
    await listModel({ ...options, note: (text) => progress.note(text) }),
    name,
  );
  const sizes = files.map(({ check }) => check.bytes ?? 0);
  const total = sizes.reduce((sum, bytes) => sum + bytes, 0);
  progress.note(`${name}: ${files.length} files, ${formatBytes(total)}`);
  for (const [i, file] of files.entries()) {
    const path = `${folder}/${file.name}`;
    const label = `[${i + 1}/${files.length}] ${file.name}`;
    if (await isIntact(path, file.check)) {
      progress.note(`${label}: already there`);
      continue;
    }
    await removeFile(`${folder}/${CONFIG}`);
    await fetchFile(path, [file.address], {
      check: file.check,
      label,
      progress,
      patience,
      headers: hubHeaders(options),
      accessHint: accessHint(options),
    });
  }
}

/** The files that are read here, in the order in which they are fetched. */
function wantedFiles(files: readonly HubFile[], model: string): readonly HubFile[] {
  const wanted = files.filter(({ name }) => WANTED.test(name) && !UNWANTED.test(name));
  const has = (name: string): boolean => wanted.some((file) => file.name === name);
  if (!has(CONFIG)) {
    throw new FileError(`Cannot use ${model} as it must have a ${CONFIG}: it has none`);
  }
  if (!WEIGHTS.some(has)) {
    throw new FileError(
      `Cannot use ${model} as its weights must be in ${WEIGHTS.join(" or ")}: it has neither`,
    );
  }
  const rank = ({ name }: HubFile): number => Number(name === CONFIG);
  return wanted.toSorted((a, b) => rank(a) - rank(b));
}
