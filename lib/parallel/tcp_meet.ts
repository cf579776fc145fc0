/**
 * How the ranks of a run find each other over TCP: rank 0 listens, all others connect to it, and
 * both sides show that they know the job key.
 *
 * @module
 */
import { DeviceError, errorText, UsageError, WorkerError } from "../errors.ts";
import { AbortedError } from "./collective.ts";
import { RankUsageError } from "./launched.ts";
import { type JobKey, meetRankZero, receiveRank } from "./tcp_handshake.ts";
import { addressText, FRAME, Link } from "./tcp_link.ts";

/** Where and with whom. */
export interface MeetOptions {
  readonly rank: number;
  readonly size: number;
  /** Where rank 0 is met: a name, or an address of IPv4 or IPv6. */
  readonly address: string;
  readonly port: number;
  readonly key: JobKey;
  /** How long the others may take to come. */
  readonly startTimeoutMs: number;
}

const RETRY_MS = 200;
/** An address that nobody has yet may get its machine later. */
const CONNECT_MS = 5_000;
/** How long a connection may take to show what it is. */
const HANDSHAKE_MS = 10_000;
/** Connections that have shown nothing yet; more are not taken at the same time. */
const MAX_STRANGERS = 64;
const TEXT_BYTES = 2_048;
const LITERAL = /^\d+\.\d+\.\d+\.\d+$|:/;

/**
 * Meets the others.
 *
 * @returns The connections by rank: rank 0 has one to every other, each other one to rank 0.
 * @throws {UsageError} If rank 0 may not listen or be reached, or the keys or numbers differ.
 * @throws {WorkerError} If not all ranks come in time.
 */
export async function meet(options: MeetOptions): Promise<Map<number, Link>> {
  if (options.size === 1) return new Map();
  return options.rank === 0
    ? await receiveAll(options)
    : new Map([[0, await connectToZero(options)]]);
}

async function receiveAll(options: MeetOptions): Promise<Map<number, Link>> {
  const { size, key, startTimeoutMs } = options;
  const links = new Map<number, Link>();
  const strangers = new Set<Link>();
  const { promise: complete, resolve, reject } = Promise.withResolvers<void>();
  using listener = listen(options);
  const timer = setTimeout(() => reject(absentError(links, options)), startTimeoutMs);
  const receive = async (link: Link) => {
    strangers.add(link);
    const limit = setTimeout(() => link.close(), HANDSHAKE_MS);
    // At once: two connections of one rank may be on their way.
    const admit = (rank: number) => {
      if (links.has(rank)) return false;
      links.set(rank, link);
      strangers.delete(link);
      return true;
    };
    const rank = await receiveRank(link, { key, size, admit }).catch(() => undefined);
    clearTimeout(limit);
    strangers.delete(link);
    if (rank === undefined) return link.close();
    if (links.size === size - 1) resolve();
  };
  const accepting = acceptAll(listener, (connection) => {
    if (strangers.size >= MAX_STRANGERS) connection.close();
    else receive(new Link(connection));
  });
  try {
    await complete;
    for (const link of links.values()) link.send(FRAME.welcome);
    return links;
  } catch (error) {
    await refuseAll(links, errorText(error));
    throw error;
  } finally {
    clearTimeout(timer);
    for (const stranger of strangers) stranger.close();
    listener.close();
    await accepting;
  }
}

async function acceptAll(
  listener: Deno.TcpListener,
  take: (connection: Deno.TcpConn) => void,
): Promise<void> {
  for (;;) {
    try {
      take(await listener.accept());
    } catch (error) {
      // The listener is closed when all have come.
      if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
        return;
      }
      // A connection that ended before it was taken, or no free descriptor for the moment.
      await sleep(RETRY_MS);
    }
  }
}

/** Tells those who came that the run does not start. */
async function refuseAll(links: ReadonlyMap<number, Link>, text: string): Promise<void> {
  const bytes = new TextEncoder().encode(text).subarray(0, TEXT_BYTES);
  for (const link of links.values()) link.send(FRAME.farewell, bytes);
  await Promise.race([
    Promise.all(Array.from(links.values(), (link) => link.sent())),
    sleep(RETRY_MS),
  ]);
  for (const link of links.values()) link.close();
}

/** Listens no wider than rank 0's address says, if it says it. */
function listen(options: MeetOptions): Deno.TcpListener {
  const { address, port } = options;
  const isNarrow = LITERAL.test(address) || address === "localhost";
  const everywhere = ["::", "0.0.0.0"];
  const places = isNarrow ? [address, ...everywhere] : [...everywhere, address];
  const granted = places.filter((hostname) => isGranted(hostname, port));
  if (granted.length === 0) throw deniedError("listen at", options);
  let reason: unknown;
  for (const hostname of granted) {
    try {
      return Deno.listen({ hostname, port });
    } catch (error) {
      reason = error;
      if (error instanceof Deno.errors.AddrInUse) break;
    }
  }
  const text = reason instanceof Deno.errors.AddrInUse ? "the port is taken" : errorText(reason);
  throw new DeviceError(`Cannot listen at ${addressText(address, port)} as rank 0: ${text}`);
}

async function connectToZero(options: MeetOptions): Promise<Link> {
  const { address, port, startTimeoutMs } = options;
  if (!isGranted(address, port)) throw deniedError("connect to", options);
  const endMs = performance.now() + startTimeoutMs;
  let reason = "nobody answers";
  while (performance.now() < endMs) {
    try {
      const link = await tryToConnect(options, endMs);
      if (link !== undefined) return link;
      reason = "the connection ended before the ranks had met";
    } catch (error) {
      if (error instanceof UsageError || error instanceof WorkerError) throw error;
      // Rank 0 may not listen yet, and its name may not be known yet.
      reason = errorText(error);
    }
    await sleep(RETRY_MS);
  }
  throw new WorkerError(
    `Cannot start: rank 0 was not met at ${addressText(address, port)} within ` +
      `${startTimeoutMs} ms: ${reason}`,
    { rank: 0, phase: "start" },
  );
}

async function tryToConnect(options: MeetOptions, endMs: number): Promise<Link | undefined> {
  const { address: hostname, port } = options;
  const left = () => Math.max(1, endMs - performance.now());
  const giveUp = new AbortController();
  const attempt = setTimeout(() => giveUp.abort(), Math.min(CONNECT_MS, left()));
  const { signal } = giveUp;
  const connecting = Deno.connect({ hostname, port, signal });
  const link = new Link(await connecting.finally(() => clearTimeout(attempt)));
  const limit = setTimeout(() => link.close(), Math.min(HANDSHAKE_MS, left()));
  let isMet = false;
  try {
    isMet = await meetRankZero(link, options);
  } finally {
    clearTimeout(limit);
    if (!isMet) link.close();
  }
  if (!isMet) return undefined;
  // Rank 0 counts who has come, and says so if somebody does not.
  const patience = setTimeout(() => link.close(), left() + HANDSHAKE_MS);
  const frame = await link.read(TEXT_BYTES).finally(() => clearTimeout(patience));
  if (frame?.kind === FRAME.welcome) return link;
  link.close();
  const text = frame?.kind === FRAME.farewell
    ? new TextDecoder().decode(frame.body)
    : "Cannot start: rank 0 has ended before all ranks had come";
  const place = { rank: 0, phase: "start" };
  throw frame === undefined ? new WorkerError(text, place) : new AbortedError(text, place);
}

function absentError(links: ReadonlyMap<number, Link>, options: MeetOptions): WorkerError {
  const { size, startTimeoutMs } = options;
  const absent = Array.from({ length: size - 1 }, (_, i) => i + 1).filter((r) => !links.has(r));
  const [rank = -1] = absent;
  return new WorkerError(
    `Cannot start: not all ranks came within ${startTimeoutMs} ms: ` +
      `${absent.length === 1 ? "rank" : "ranks"} ${absent.join(", ")} did not come`,
    { rank, phase: "start" },
  );
}

function isGranted(hostname: string, port: number): boolean {
  const host = addressText(hostname, port);
  return Deno.permissions.querySync({ name: "net", host }).state === "granted";
}

function deniedError(what: string, options: MeetOptions): UsageError {
  const place = addressText(options.address, options.port);
  const everywhere = options.rank === 0 ? `,${addressText("::", options.port)}` : "";
  return new RankUsageError(
    `Cannot ${what} ${place} as the network is not granted: use 'deno task nodes', or add ` +
      `--allow-net=${place}${everywhere}`,
  );
}

async function sleep(durationMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, durationMs));
}
