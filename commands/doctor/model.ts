/**
 * What `doctor` says of a model: its files, its tokenizer, its prompt templates, and how long a prompt
 * may be on this machine.
 *
 * @module
 */
import type { CudaDescription } from "../../lib/device/cuda_description.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { readModel } from "../../lib/model/read_model.ts";
import { readChatTemplate } from "../../lib/model/chat_template.ts";
import { loadTokenizer, type Tokenizer } from "../../lib/model/tokenizer.ts";
import { tokenizerPath } from "../../lib/model/model_paths.ts";
import { convertedWeightBytes } from "../../lib/model/weight_memory.ts";
import { listWeightFiles } from "../../lib/model/weight_files.ts";
import { MODEL_TEMPLATES } from "../../ruler/templates.ts";
import { chooseTemplate, templateWarning } from "../ruler/template.ts";
import { type Finding, INDENT } from "./finding.ts";
import { lookAtFit, precisionOf, type RunWish } from "./fit.ts";

export type { RunWish } from "./fit.ts";

const TEMPLATE_FLAG = "--prompt_config";

/**
 * Looks at a model.
 *
 * @param options `run`: what is to run on it; without it only its files are looked at.
 */
export async function lookAtModel(
  folder: string,
  options: { run: RunWish | undefined; cuda: CudaDescription },
): Promise<Finding[]> {
  const { run, cuda } = options;
  const files = await lookAtFiles(folder);
  const { config, weightBytes } = files;
  if (run === undefined || config === undefined) return [files.finding];
  const convertedBytes = await lookAtConversion(folder, { config, run });
  const tokenizer = await lookAtTokenizer(folder, config);
  using owned = tokenizer.tokenizer;
  return [
    files.finding,
    tokenizer.finding,
    ...(owned === undefined ? [] : [await lookAtTemplate(folder, { tokenizer: owned, run })]),
    ...lookAtFit({ config, weightBytes, convertedBytes, run, cuda }),
  ];
}

async function lookAtFiles(
  folder: string,
): Promise<{ finding: Finding; config?: ModelShape; weightBytes: number }> {
  const name = "Model";
  try {
    const config = await readModel(folder);
    const { paths } = await listWeightFiles(folder);
    let weightBytes = 0;
    for (const path of paths) weightBytes += (await Deno.stat(path)).size;
    const text = `${folder}: ${config.layerCount} layers, hidden size ${config.hiddenSize}, ` +
      `${config.maxPositions} positions, ${
        config.storedWeights === undefined ? "" : `weights in ${config.storedWeights}, `
      }${(weightBytes / 2 ** 20).toFixed(1)} MiB in ` +
      `${paths.length} weight file${paths.length === 1 ? "" : "s"}`;
    const lines = [text, ...config.warnings.map((warning) => `warning: ${warning}`)];
    const finding = { name, text: lines.join(`\n${INDENT}`) };
    return { finding, config, weightBytes };
  } catch (error) {
    const remedy = "give a model's folder with --model_path, or fetch one: deno task model";
    const finding = { name, text: errorText(error), remedy, error: asFileError(error) };
    return { finding, weightBytes: 0 };
  }
}

/** Bytes of weights that a process converts; weights that cannot be read are a run's to complain of. */
async function lookAtConversion(
  folder: string,
  options: { config: ModelShape; run: RunWish },
): Promise<number> {
  const { config, run } = options;
  const { keepWeights: keepsWeights } = run;
  try {
    const precision = precisionOf(config, run);
    return await convertedWeightBytes(folder, { config, precision, keepsWeights });
  } catch (error) {
    if (error instanceof FileError) return 0;
    throw error;
  }
}

function asFileError(error: unknown): Error {
  return error instanceof Error ? error : new FileError(String(error));
}

async function lookAtTokenizer(
  folder: string,
  config: ModelShape,
): Promise<{ finding: Finding; tokenizer?: Tokenizer }> {
  const name = "Tokenizer";
  try {
    const tokenizer = await loadTokenizer(folder);
    const text = `${await tokenizerPath(folder)}, ${config.vocabularySize} rows in the embedding`;
    return { finding: { name, text }, tokenizer };
  } catch (error) {
    const path = await tokenizerPath(folder);
    const isThere = await Deno.stat(path).then(() => path !== folder, () => false);
    const remedy = isThere
      ? "fetch it anew: deno task model"
      : "fetch the model's tokenizer.json, or make it of its other files with transformers: " +
        "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)";
    return { finding: { name, text: errorText(error), remedy, error: asFileError(error) } };
  }
}

/** Whether the named template fits, or which ones do. */
async function lookAtTemplate(
  folder: string,
  options: { tokenizer: Tokenizer; run: RunWish },
): Promise<Finding> {
  const name = "Template";
  const { tokenizer, run: { template: named } } = options;
  const fitting = await fittingTemplates(folder, tokenizer);
  const found = fitting.length === 0 ? "none of RULER's" : fitting.join(", ");
  if (named === undefined) return { name, text: `${TEMPLATE_FLAG} that fit: ${found}` };
  try {
    const template = await chooseTemplate(named, { folder, tokenizer, flag: TEMPLATE_FLAG });
    const warning = await templateWarning(template, { folder, tokenizer });
    if (warning === undefined) return { name, text: `${named} fits` };
    return { name, text: warning.replace(/^warning: /, ""), remedy: `those that fit: ${found}` };
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof FileError)) throw error;
    return { name, text: error.message, remedy: `those that fit: ${found}`, error };
  }
}

/** The model's own, and those of RULER whose special tokens the tokenizer knows. */
async function fittingTemplates(folder: string, tokenizer: Tokenizer): Promise<string[]> {
  const hasOwn = await readChatTemplate(folder).then(() => true, () => false);
  const names = hasOwn ? ["chat (the model's own)"] : [];
  for (const [name, { before, after }] of Object.entries(MODEL_TEMPLATES)) {
    // Those without special tokens are made of words that any tokenizer has.
    if (!/<\|?\w+\|?>|\[INST\]/.test(before + after)) continue;
    const template = await chooseTemplate(name, { folder, tokenizer, flag: TEMPLATE_FLAG });
    if (await templateWarning(template, { folder, tokenizer }) === undefined) names.push(name);
  }
  return hasOwn ? names : [...names, "base (the task alone)"];
}
