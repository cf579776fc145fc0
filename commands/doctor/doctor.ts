/**
 * The `doctor` command: what was found on this machine and what is missing, in one screen.
 *
 * @module
 */
import { cpus } from "node:os";
import { openCpuDevice } from "../../lib/device/cpu.ts";
import { describeCpu } from "../../lib/device/cpu_description.ts";
import {
  type CudaDescription,
  describeCuda,
  type LibraryFinding,
} from "../../lib/device/cuda_description.ts";
import { dataFolder } from "../../lib/data_folder.ts";
import { DeviceError, UsageError } from "../../lib/errors.ts";
import { type HostMemory, hostMemory } from "../../lib/device/host_memory.ts";
import { describeLaunch, launchEnvironment, recognizeLaunch } from "../../lib/team/launch.ts";
import { gpusOf } from "../../lib/engine/rank_device.ts";
import { measureRowsSet } from "../../lib/engine/rows_set.ts";
import { isFile } from "../../lib/files.ts";
import { type Finding, INDENT } from "./finding.ts";
import { lookAtModel, type RunWish } from "./model.ts";
import type { Screen } from "../shared/screen.ts";
import { VERSION } from "../shared/version.ts";

/** Options of {@linkcode runDoctor}. */
export interface DoctorOptions {
  /** Its folder; undefined where there is none to look at. */
  readonly modelPath: string | undefined;
  /** What is to run on it: whether it fits is looked at, too. */
  readonly run?: RunWish | undefined;
  /** RULER's source data; undefined for the usual folder. */
  readonly sourceDir: string | undefined;
}

const GIB = 2 ** 30;

/** RULER's source data, in the layout of `scripts/download_data.ts`, and the tasks that need it. */
const SOURCES: readonly (readonly [file: string, tasks: string])[] = [
  ["PaulGrahamEssays.json", "niah_single_2, niah_single_3, niah_multikey_1, niah_multi*"],
  ["adjectivelist.txt", "words of niah; cwe"],
  ["nounlist.txt", "words of niah; cwe"],
  ["verblist.txt", "cwe"],
  ["squad.json", "qa_1"],
  ["hotpotqa.json", "qa_2"],
];

/**
 * Looks at this machine and prints what it found.
 *
 * @throws {DeviceError} If the kernel library cannot be used, or what is to run does not fit, after
 * everything was printed.
 * @throws {FileError} If the model cannot be used, after everything was printed.
 */
export async function runDoctor(options: DoctorOptions, screen: Screen): Promise<void> {
  const { modelPath, run } = options;
  const cuda = await describeCuda();
  const findings: Finding[] = [
    { name: "StarX", text: `${VERSION} on Deno ${Deno.version.deno} (V8 ${Deno.version.v8})` },
    lookAtMachine(),
    memoryFinding(hostMemory()),
    await lookAtLibrary(),
    lookAtGpus(cuda),
    ...(modelPath === undefined ? [] : await lookAtModel(modelPath, { run, cuda })),
    await lookAtData(options.sourceDir),
    lookAtLauncher(),
  ];
  const lines = findings.flatMap(({ name, text, remedy }) => [
    `${remedy === undefined ? "ok" : "!!"}  ${name.padEnd(9)} ${text}`,
    ...(remedy === undefined ? [] : [`${INDENT}-> ${remedy}`]),
  ]);
  screen.print(`${lines.join("\n")}\n`);
  const fatal = findings.find(({ error }) => error !== undefined)?.error;
  if (fatal !== undefined) throw fatal;
  if (run === undefined) screen.print("\nThe demonstration can run: deno task ruler\n");
}

function lookAtMachine(): Finding {
  const { os, arch } = Deno.build;
  const text = `${os} ${Deno.osRelease()}, ${arch}, ${cpus()[0]?.model ?? "unknown processor"}, ` +
    `${navigator.hardwareConcurrency} cores`;
  if (os === "linux" && arch === "x86_64") return { name: "Machine", text };
  return { name: "Machine", text, remedy: "the kernel libraries are for Linux on x86-64" };
}

function lookAtLauncher(): Finding {
  const lines = describeLaunch(launchEnvironment());
  return { name: "Launcher", text: lines.join(`\n${INDENT}`) };
}

/** What is said of this machine's memory; undefined where the program may not ask. */
export function memoryFinding(found: HostMemory | undefined): Finding {
  const name = "Memory";
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  if (found === undefined) return { name, text: "unknown, as the program may not ask" };
  const { totalBytes, availableBytes, limitBytes } = found;
  const text = `${gib(availableBytes)} GiB available of ${gib(totalBytes)} GiB`;
  if (limitBytes === undefined) return { name, text };
  return { name, text: `${text}, as the limit of the control group is ${gib(limitBytes)} GiB` };
}

async function lookAtLibrary(): Promise<Finding> {
  const name = "Library";
  try {
    const { libraryPath, abiVersion, instructionSets, best } = await describeCpu();
    const text = `${libraryPath}, interface ${abiVersion}, SHA-256 as in its manifest`;
    if ((Deno.env.get("STARX_ISA") ?? "auto") !== "auto") return await forcedSets(name, text);
    if (best !== "") {
      return {
        name,
        text: `${text}\n${INDENT}${await setsText({ best, instructionSets })}`,
      };
    }
    const error = new DeviceError("Cannot compute on this CPU as it must have AVX2");
    return { name, text, remedy: "a CPU with AVX2 is needed", error };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    return { name, text: error.message, remedy: "deno task build:cpu builds it with g++", error };
  }
}

/** What computes where the environment says it, if it can. */
async function forcedSets(name: string, text: string): Promise<Finding> {
  try {
    using device = await openCpuDevice({ threads: 1 });
    const [sets = ""] = device.description.replace(/^cpu /, "").split(",");
    return { name, text: `${text}\n${INDENT}uses ${sets}, by the environment's STARX_ISA` };
  } catch (error) {
    if (!(error instanceof DeviceError)) throw error;
    const remedy = "unset STARX_ISA, or name sets that this machine has";
    return { name, text: error.message, remedy, error };
  }
}

/** What computes here, and what was measured to find that out. */
async function setsText(
  { best, instructionSets }: { best: string; instructionSets: readonly string[] },
): Promise<string> {
  const used = `uses ${best} of ${instructionSets.join(", ")}`;
  const measured = await measureRowsSet({ threads: 0 });
  if (measured === undefined) return used;
  const ms = measured.timings.map(({ set, ms: [one, eight] }) =>
    `${set} takes ${one.toFixed(2)} and ${eight.toFixed(2)} ms`
  );
  const set = measured.set === "own" ? best : measured.set;
  return `${used}, and ${set} for the rows of decode steps\n${INDENT}` +
    `(of 1 and of 8 rows by 64 MiB of weights ${ms.join(", ")})`;
}

/** Longer reasons fill the screen: the search for a library names all its folders. */
const REASON_CHARS = 200;

/** GPUs and what they need; a machine without an NVIDIA driver lacks nothing. */
function lookAtGpus(found: CudaDescription): Finding {
  const name = "GPU";
  const { gpus, driverPath, problem } = found;
  if (driverPath === undefined && gpus.length === 0) {
    return { name, text: "none: this machine has no NVIDIA driver (libcuda.so.1)" };
  }
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  const lines = gpus.map((gpu) =>
    `cuda:${gpu.ordinal} ${gpu.name}, compute capability ${gpu.capability}, ` +
    `${gpu.multiprocessors} multiprocessors, ${gib(gpu.freeBytes)} GiB free of ` +
    `${gib(gpu.totalBytes)} GiB`
  );
  if (problem !== undefined) lines.push(`none is usable: ${shortened(problem)}`);
  if (problem === undefined) lines.push(...dealtLines(gpus.length, launchedHere()));
  lines.push(`driver for CUDA ${found.driverVersion ?? "?"}, ${driverPath ?? "library not found"}`);
  const runtime = `runtime ${found.runtimeVersion ?? ""}`.trimEnd();
  lines.push(
    ...libraryLines({ [runtime]: found.runtime, cuBLAS: found.blas, kernels: found.kernels }),
  );
  const isUsable = problem === undefined && "path" in found.blas && "path" in found.kernels;
  const text = lines.join(`\n${INDENT}`);
  return isUsable ? { name, text } : {
    name,
    text,
    remedy: "the CPU computes until that is mended; docs/gpu.md says what a GPU needs",
  };
}

/** How many processes a launcher has started on this machine; 1 without one. */
function launchedHere(): number {
  try {
    return recognizeLaunch(launchEnvironment())?.localSize ?? 1;
  } catch (error) {
    // What contradicts itself is told beside the launcher.
    if (!(error instanceof UsageError)) throw error;
    return 1;
  }
}

/** Which GPUs a process has, where there are several of either. */
function dealtLines(gpuCount: number, processCount: number): string[] {
  if (gpuCount < 2) return [];
  if (processCount === 1) return [`-np N gives each process floor(${gpuCount} / N) of them`];
  const { length } = gpusOf({ index: 0, count: processCount }, gpuCount);
  const unused = Math.max(0, gpuCount - length * processCount);
  return [
    `${length} for each of this machine's ${processCount} processes` +
    (unused > 0 ? `; ${unused} left over, used by nobody` : ""),
  ];
}

function libraryLines(libraries: Readonly<Record<string, LibraryFinding>>): string[] {
  return Object.entries(libraries).map(([name, finding]) =>
    `${name}: ${"path" in finding ? finding.path : shortened(finding.problem)}`
  );
}

function shortened(text: string): string {
  return text.length <= REASON_CHARS ? text : `${text.slice(0, REASON_CHARS)}...`;
}

async function lookAtData(sourceDir: string | undefined): Promise<Finding> {
  const name = "RULER";
  const folder = dataFolder(sourceDir);
  const missing: string[] = [];
  for (const [file, tasks] of SOURCES) {
    if (!(await isFile(`${folder}/${file}`))) missing.push(`${file} (${tasks})`);
  }
  if (missing.length === 0) return { name, text: `all source data in ${folder}` };
  const text = `${folder} lacks\n${missing.map((line) => `${" ".repeat(16)}${line}`).join("\n")}`;
  return { name, text, remedy: "deno task data fetches it; five tasks run without" };
}
