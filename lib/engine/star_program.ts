/**
 * The rank program of a model: generates for samples, or encodes contexts and keeps them to be asked
 * about; many requests at once, on all ranks at the same time.
 *
 * @module
 */
import { AbortedError } from "../parallel/collective.ts";
import { threadsPerProcess } from "../device/open.ts";
import { WorkerError } from "../errors.ts";
import { modelDigest } from "../model/digest.ts";
import { keptPaths, mayKeepWeights } from "../model/kept_weights.ts";
import type { RankContext, RankProgram, RankService } from "../team/program.ts";
import { gatherJson } from "../team/words.ts";
import { connectDevices, exchangeName } from "./exchange.ts";
import { RankModel, type RankOptions } from "./rank.ts";
import { gpuEnvironments } from "./rank_device.ts";
import { StarService } from "./star_service.ts";
import type { StarTypes } from "./wire.ts";

/** A model of which there is one copy. */
const ONE = { index: 0, count: 1 } as const;

const ENTRY = new URL("./worker.ts", import.meta.url);

/** The model on ranks. */
export const STAR_PROGRAM: RankProgram<StarTypes> = {
  name: "model",
  entry: ENTRY,
  permissions: workerPermissions(ENTRY),
  rankPermissions: writerPermissions,
  environment({ device, replica = ONE }, size) {
    const environments = device === "cuda" ? gpuEnvironments(size * replica.count) : undefined;
    return environments && ((rank) => environments(replica.index * size + rank));
  },
  load: loadStarRank,
};

/**
 * The permissions of a worker: files it maps, its place in the processes' shared memory; one started
 * from a URL fetches the kernel library and keeps it in the user's cache.
 *
 * @param entry The worker's module.
 */
export function workerPermissions(entry: URL): readonly string[] {
  const local = ["--allow-read", "--allow-env", "--allow-sys"];
  if (entry.protocol === "file:") return local;
  const { host } = entry;
  return [...local, "--allow-write", `--allow-net=${host}`, `--allow-import=${host}`];
}

/** Lets the first rank keep weights beside the model, and write nothing else. */
function writerPermissions(
  { keepWeights, modelFolder, replica = ONE }: RankOptions,
): ((rank: number) => readonly string[]) | undefined {
  // From a URL all ranks may write anyway, which a list would take from them.
  if (keepWeights !== true || replica.index !== 0 || ENTRY.protocol !== "file:") return undefined;
  if (!mayKeepWeights(modelFolder)) return undefined;
  const paths = keptPaths(modelFolder);
  // A list of paths cannot name one with a comma.
  const hasComma = paths.some((path) => path.includes(","));
  const flags = [hasComma ? "--allow-write" : `--allow-write=${paths.join(",")}`];
  return (rank) => rank === 0 ? flags : [];
}

/** Loads the model on a rank. */
async function loadStarRank(
  init: RankOptions,
  context: RankContext<StarTypes>,
): Promise<RankService<StarTypes>> {
  const { collective: host, status, hangTimeoutMs: timeoutMs, localSize, carrier } = context;
  const { replica = ONE } = init;
  const processCount = localSize * replica.count;
  const threads = threadsPerProcess(init.threads, { processCount });
  const onProgress = () => status.advance();
  using owned = new DisposableStack();
  const model = owned.use(await RankModel.load({ ...init, threads }, { host, onProgress }));
  if (context.hasOwnFiles) await checkSameModel(init.modelFolder, context);
  const { devices, hasOwnGpus } = model;
  const collective = owned.use(await connectDevices(devices, { host, hasOwnGpus, timeoutMs }));
  const { config, deviceDescription, batchSize } = model;
  const exchange = exchangeName(collective, carrier);
  const kept = owned.move();
  return new StarService(model, {
    ready: { config, deviceDescription, exchange, batchSize },
    collective,
    context,
    dispose: () => kept.dispose(),
  });
}

/** All ranks find a fault, and rank 0 says it. */
async function checkSameModel(folder: string, context: RankContext<StarTypes>): Promise<void> {
  const digests = await gatherJson(context.collective, await modelDigest(folder));
  const rank = digests.findIndex((digest) => digest !== digests[0]);
  if (rank < 0) return;
  const text = `Cannot run together as all ranks must have the same model in ${folder}: ` +
    `${context.describe(rank)} has another one than ${context.describe(0)}`;
  const position = { rank, phase: "load" };
  throw context.rank === 0 ? new WorkerError(text, position) : new AbortedError(text, position);
}
