/**
 * `logs/<task>/*.sh`: the commands that make a task's data and its predictions again, beside the
 * results and without touching them.
 *
 * @module
 */
import { fileURLToPath } from "node:url";
import { resolve } from "node:path";
import { replaceFile } from "../../lib/files.ts";
import { makeFolder } from "../shared/folder.ts";
import type { RulerRun } from "./prepare_length.ts";

const HERE = 'here=$(cd "$(dirname "$0")" && pwd)';

/**
 * Writes a task's scripts.
 *
 * @param folder The length's folder.
 * @param options `args`: this run's command line, the subcommand first.
 * @throws {FileError} If one cannot be written.
 */
export async function writeScripts(
  folder: string,
  options: {
    task: string;
    maxTokens: number;
    sampleCount: number;
    args: readonly string[];
    run: RulerRun;
  },
): Promise<void> {
  const { task, args, run } = options;
  const [command = "", ...rest] = args;
  const logs = `${folder}/logs/${task}`;
  await makeFolder(logs);
  const predictions = [...program(), command, ...rest, ...changes(rest, options)].map(quoted);
  await replaceFile(
    `${logs}/generate_predictions.sh`,
    script([...predictions, '--output_dir "$here/predictions"']),
  );
  if (command !== "ruler" || run.pregenDir !== undefined) return;
  const data = [...program(), ...prepareArgs(options)].map(quoted);
  await replaceFile(`${logs}/data_generation.sh`, script([...data, '--save_dir "$here/data"']));
}

/** Of a repeated flag the last one counts, so that the rest of the command line may stay. */
function changes(
  rest: readonly string[],
  options: { task: string; maxTokens: number; sampleCount: number; run: RulerRun },
): string[] {
  const { task, maxTokens, sampleCount, run } = options;
  // The bare command has demonstration values, which other flags would end.
  if (!rest.some((word) => /^(-p|--model_p)/.test(word))) return [];
  return [
    ...["--tasks", task, "--seq_lengths", String(maxTokens)],
    ...["--num_samples_per_task", String(sampleCount)],
    // A launcher's ranks are this command's own processes here.
    ...(run.processCount > 1 ? ["--nproc_per_node", String(run.processCount)] : []),
  ];
}

function prepareArgs(
  options: { task: string; maxTokens: number; sampleCount: number; run: RulerRun },
): string[] {
  const { task, maxTokens, sampleCount, run } = options;
  const { tasksFile, cweFrequencies, sourceDir, generators = "pinned", templateName } = run;
  return [
    ...["prepare", "--task", task, "--tokenizer_path", resolve(run.modelPath)],
    ...["--max_seq_length", String(maxTokens), "--num_samples", String(sampleCount)],
    ...["--model_template_type", templateName, "--generators", generators],
    ...(tasksFile === undefined ? [] : ["--tasks_file", tasksFile]),
    ...(cweFrequencies === undefined ? [] : ["--cwe_freq", ...cweFrequencies.map(String)]),
    ...(sourceDir === undefined ? [] : ["--source_dir", sourceDir]),
  ];
}

/** The lines of a script that runs where this run was started. */
function script(words: readonly string[]): string[] {
  return [`#!/bin/sh\n${HERE}\ncd ${quoted(Deno.cwd())} || exit 1\nexec ${words.join(" ")}\n`];
}

function program(): string[] {
  const entry = new URL(Deno.mainModule);
  const path = entry.protocol === "file:" ? fileURLToPath(entry) : entry.href;
  return [Deno.execPath(), "run", "-A", path];
}

function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
