/**
 * A command on the processes that a launcher started: every process runs this program, rank 0 runs
 * the command, and the others compute with it.
 *
 * @module
 */
import { AbortedError } from "../../lib/parallel/collective.ts";
import { RankUsageError } from "../../lib/parallel/launched.ts";
import { EXIT_CODES, invariant, UsageError, WorkerError } from "../../lib/errors.ts";
import { RankGroup } from "../../lib/team/group.ts";
import { readJobSecret } from "../../lib/team/job_key.ts";
import type { Launch } from "../../lib/team/launch.ts";
import { loadLaunchedModel } from "../../lib/engine/load_model.ts";
import { STAR_PROGRAM } from "../../lib/engine/star_program.ts";
import { endFollowers, followLeader } from "../../lib/team/follow.ts";
import type { RankProgram, RankTypes } from "../../lib/team/program.ts";
import { endingOf } from "./command.ts";
import { tellDone } from "./done.ts";
import { jobKeyFileOf, startTimeoutOf } from "./engine_flags.ts";
import type { FlagTable } from "./flags.ts";
import type { CommandContext } from "../infer/infer.ts";
import { VERSION } from "./version.ts";

/** What it needs. */
export interface LaunchedOptions {
  readonly launch: Launch;
  /** The command line, which must be the same on all ranks. */
  readonly args: readonly string[];
  /** The command's flags. */
  readonly flags: FlagTable;
  readonly context: CommandContext;
  /** Ends the process. */
  readonly exit: (code: number) => never;
  /** Whether a signal came: ranks that are missed from then on ended by theirs. */
  readonly isInterrupted: () => boolean;
  /** Tells the user of an error; gives the exit code. */
  readonly tell: (error: unknown) => Promise<number>;
}

/** How long a rank may make no progress until the command line's own time-out is known. */
const JOIN_TIMEOUT_MS = 60_000;
/**
 * Before they have met, a rank that has nothing to say cannot know when the one that has did so; a
 * launcher ends all with the first.
 */
const QUIET_MS = 5_000;

/**
 * Runs a command on all ranks.
 *
 * @param run The command, for rank 0, whose context loads models on all.
 * @returns The exit code of this process.
 * @throws {UsageError} If the ranks cannot be joined as they were started.
 * @throws {DeviceError} If what they exchange over cannot be used.
 * @throws {WorkerError} If not all ranks come.
 */
export async function runLaunched(
  options: LaunchedOptions,
  run: (context: CommandContext) => Promise<number | void>,
): Promise<number> {
  const { launch, args, flags, context, exit } = options;
  const log = (line: string) => logUnlessInterrupted(options, line);
  const identity = { "version": VERSION, "command line": args.join(" ") };
  let group: RankGroup;
  try {
    const timeoutMs = JOIN_TIMEOUT_MS;
    const startTimeoutMs = startTimeoutOf(args, flags);
    const jobSecret = await readJobSecret(jobKeyFileOf(args, flags));
    const times = { timeoutMs, startTimeoutMs };
    group = await RankGroup.join(launch, { identity, ...times, jobSecret, log, exit });
  } catch (error) {
    // All ranks find the same fault in their launch; one of them says so.
    const isCommon = error instanceof UsageError && !(error instanceof RankUsageError);
    const isToldByOther = error instanceof AbortedError || (launch.rank > 0 && isCommon);
    if (!isToldByOther) throw error;
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    return endingOf(error).code;
  }
  try {
    await group.meet();
    if (group.rank > 0) {
      await followLeader(group, findProgram);
    } else {
      await run({
        ...context,
        group,
        launchedRanks: group.size,
        loadModel: (folder, options = {}) => loadLaunchedModel(group, { folder, options }),
      });
      await endFollowers(group);
      tellDone(log);
    }
    return EXIT_CODES.done;
  } catch (error) {
    const mayTell = await group.abandon(error);
    if (error instanceof AbortedError) return EXIT_CODES.workerLost;
    if (!mayTell) return endingOf(error).code;
    const code = await tellFor(group, error, options);
    await group.told();
    return code;
  }
}

/** Tells the user of an error of one rank. @returns The exit code. */
async function tellFor(
  group: RankGroup,
  error: unknown,
  options: LaunchedOptions,
): Promise<number> {
  if (group.rank === 0 && !(error instanceof WorkerError)) return await options.tell(error);
  const { code, text } = endingOf(error);
  const isLoss = error instanceof WorkerError;
  const line = isLoss ? group.lossText(error) : `${group.describe(group.rank)}: ${text}`;
  logUnlessInterrupted(options, line);
  return code;
}

function logUnlessInterrupted(options: LaunchedOptions, line: string): void {
  if (!options.isInterrupted()) options.context.screen.log(line);
}

/** What rank 0 may ask the others to load. */
async function findProgram(name: string): Promise<RankProgram<RankTypes>> {
  if (name === STAR_PROGRAM.name) return STAR_PROGRAM;
  const { BENCH_PROGRAM } = await import("../bench/team.ts");
  invariant(name === BENCH_PROGRAM.name, "rank 0 runs the same version of this program");
  return BENCH_PROGRAM;
}
