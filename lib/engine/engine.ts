/**
 * Runs samples on a team of ranks, wherever they are.
 *
 * @module
 */
import { sharesContext } from "../attention/plan.ts";
import { AbortedError } from "../parallel/collective.ts";
import { invariant, WorkerError } from "../errors.ts";
import type { ModelShape } from "../model/model_shape.ts";
import {
  checkRequest,
  type Engine,
  type GenerateCall,
  type GenerateRequest,
  type GenerateResult,
  type Progress,
} from "../star/request.ts";
import type { RankGroup } from "../team/group.ts";
import { openTeam } from "../team/open_team.ts";
import type { Team, TeamPlace } from "../team/team.ts";
import type { RankOptions } from "./rank.ts";
import { STAR_PROGRAM } from "./star_program.ts";
import { joinResults, type RankResult, type StarResult, type StarTypes, toWire } from "./wire.ts";

/** What an engine is started with. */
export interface EngineOptions extends RankOptions {
  /** How many processes share the work; 1 runs in this one. */
  readonly processCount: number;
  /** How long a rank may make no progress, in milliseconds. */
  readonly timeoutMs: number;
  /** How long a process may take to start and join, in milliseconds. @default {60_000} */
  readonly startTimeoutMs?: number | undefined;
  /** The processes that a launcher started with this one; they take the place of children. */
  readonly group?: RankGroup | undefined;
}

/**
 * Loads the model.
 *
 * @throws {FileError} If the model is missing or damaged.
 * @throws {DeviceError} If the kernel library or the device cannot be used.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  return new TeamEngine(await openModelTeam(options), {
    // Of launched ranks only rank 0 tells how far it is.
    reporters: placeOf(options).kind === "children" ? options.processCount : 1,
  });
}

/** The ranks of a model. */
export async function openModelTeam(options: EngineOptions): Promise<Team<StarTypes>> {
  const { modelFolder, plan, device, precision, threads, rowsSet, gpusPerRank } = options;
  const { expectedTokens, copyWeights, keepWeights, batchSize } = options;
  const { replica, ropeScaling, select } = options;
  const init = {
    ...{ modelFolder, plan, device, precision, threads, rowsSet, gpusPerRank },
    ...{ expectedTokens, copyWeights, keepWeights, batchSize, replica, ropeScaling, select },
  };
  return await openTeam(STAR_PROGRAM, init, placeOf(options));
}

function placeOf(options: EngineOptions): TeamPlace {
  const { group, plan, processCount: size, timeoutMs, startTimeoutMs } = options;
  if (group !== undefined && sharesContext(plan)) {
    return { kind: "launched", group, timeoutMs };
  }
  // Each replica sees only its own GPUs, and none keeps the others waiting.
  const isAlone = size === 1 && options.replica === undefined;
  return isAlone ? { kind: "alone" } : { kind: "children", size, timeoutMs, startTimeoutMs };
}

class TeamEngine implements Engine {
  readonly config: ModelShape;
  readonly batchSize: number;
  readonly deviceDescription: string;
  readonly #team: Team<StarTypes>;
  readonly #reporters: number;
  /** Counts the answers that may be ended early. */
  #keys = 0;

  constructor(team: Team<StarTypes>, options: { reporters: number }) {
    const [ready] = team.ready;
    invariant(ready !== undefined, "a team has a rank 0");
    this.#team = team;
    this.#reporters = options.reporters;
    this.config = ready.config;
    this.batchSize = ready.batchSize;
    this.deviceDescription = describeTeam(team);
  }

  get lost(): Promise<Error> | undefined {
    return this.#team.lost;
  }

  async generate(request: GenerateRequest, call: GenerateCall = {}): Promise<GenerateResult> {
    checkRequest(request, this.config);
    const { signal, onProgress, onIds, isDone } = call;
    const slowest = new SlowestRank(this.#reporters);
    const key = isDone === undefined && onIds === undefined ? undefined : ++this.#keys;
    const stopper = key === undefined || isDone === undefined
      ? undefined
      : new Stopper(isDone, () => this.#team.run({ kind: "stop", key }, {}));
    try {
      const results = await this.#team.run({ kind: "generate", request: toWire(request), key }, {
        signal,
        onProgress: (progress, rank) => {
          onProgress?.(slowest.update(progress, rank));
          if (progress.ids === undefined) return;
          onIds?.(progress.ids);
          stopper?.look(progress.ids);
        },
      });
      return joinResults(results.map(generatedOf));
    } catch (error) {
      throw nameSample(error, request.sample);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#team[Symbol.asyncDispose]();
  }
}

/** One line for people: device, processes, and what they exchange over. */
function describeTeam(team: Team<StarTypes>): string {
  const [ready] = team.ready;
  const device = ready?.deviceDescription ?? "";
  return team.size === 1 ? device : `${device}, ${team.size} processes, ${ready?.exchange}`;
}

function generatedOf({ generated }: StarResult): RankResult {
  const { selectedTiles, counters } = generated ?? {};
  invariant(generated && selectedTiles && counters, "a rank that generated says what it took");
  return { headTiles: [], masks: [], ...generated, selectedTiles, counters };
}

function nameSample(error: unknown, sample: string): unknown {
  if (!(error instanceof WorkerError) || error instanceof AbortedError) return error;
  const { rank, phase, message } = error;
  return new WorkerError(`${message} (sample ${sample})`, { rank, phase, cause: error });
}

/** Ends an answer early when it is found to be done. */
class Stopper {
  readonly #isDone: (ids: readonly number[]) => Promise<boolean>;
  readonly #stop: () => Promise<unknown>;
  #isLooking = false;
  #latest: readonly number[] | undefined;

  constructor(
    isDone: (ids: readonly number[]) => Promise<boolean>,
    stop: () => Promise<unknown>,
  ) {
    this.#isDone = isDone;
    this.#stop = stop;
  }

  /** Looks at the ids so far; those that come while it looks are looked at behind them. */
  look(ids: readonly number[]): void {
    this.#latest = ids;
    if (!this.#isLooking) this.#run().catch(() => {});
  }

  /** What goes wrong here goes wrong for the answer itself, too, which says so. */
  async #run(): Promise<void> {
    this.#isLooking = true;
    while (this.#latest !== undefined) {
      const ids = this.#latest;
      this.#latest = undefined;
      // Once it is ended nobody needs to look any more.
      if (await this.#isDone(ids)) return void await this.#stop();
    }
    this.#isLooking = false;
  }
}

/** The progress of a team is that of its slowest rank. */
class SlowestRank {
  readonly #latest: Progress[];

  constructor(size: number) {
    const start: Progress = { phase: "phase 1", fraction: 0, generatedTokens: 0 };
    this.#latest = Array.from({ length: size }, () => start);
  }

  update(progress: Progress, rank: number): Progress {
    this.#latest[rank] = progress;
    const order = (p: Progress) => (p.phase === "phase 1" ? 0 : 1) + p.fraction;
    return this.#latest.reduce((a, b) => order(b) < order(a) ? b : a);
  }
}
