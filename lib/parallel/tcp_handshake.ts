/**
 * How two ranks that know the same key convince each other of it over a connection that others may
 * read: each answers the other's random challenge with an HMAC (RFC 2104, SHA-256). The key itself
 * never travels, and nothing else is said or taken before.
 *
 * Rank 0 sends its challenge; the other answers with its rank, the number of ranks, a challenge of
 * its own and its proof; rank 0 sends its proof, or says why it refuses.
 *
 * @module
 */
import { UsageError, WorkerError } from "../errors.ts";
import { RankUsageError } from "./launched.ts";
import { FRAME, type Link } from "./tcp_link.ts";

/** The shortest key that is not guessed. */
const MIN_KEY_BYTES = 16;

const MAGIC = new TextEncoder().encode("starx-tcp-1\n");
const NONCE_BYTES = 32;
const PROOF_BYTES = 32;
const PLACE_BYTES = 8;
const ANSWER_BYTES = PLACE_BYTES + NONCE_BYTES + PROOF_BYTES;
/** Nothing longer is read from somebody who has not shown the key. */
const MAX_BYTES = 128;

/** Why rank 0 refuses; the index travels. */
const REFUSALS = [
  "it has another job key",
  "it has another WORLD_SIZE",
  "the rank has come already",
] as const;

/** A key that the ranks of a run share. */
export type JobKey = CryptoKey;

/**
 * Makes a key of a secret.
 *
 * @throws {UsageError} If it is too short.
 */
export async function importJobKey(secret: Uint8Array<ArrayBuffer>): Promise<JobKey> {
  if (secret.byteLength < MIN_KEY_BYTES) {
    throw new UsageError(
      `Cannot take the job key as it must have at least ${MIN_KEY_BYTES} bytes: ` +
        `current value has ${secret.byteLength}`,
    );
  }
  return await crypto.subtle.importKey("raw", secret, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
    "verify",
  ]);
}

/** Whom rank 0 takes. */
export interface Doorkeeper {
  readonly key: JobKey;
  readonly size: number;
  /** Takes a rank in; false if it has come already. */
  admit(rank: number): boolean;
}

/**
 * Rank 0's part.
 *
 * @returns The rank at the other end; undefined if it is none of the run's, or was refused.
 */
export async function receiveRank(
  link: Link,
  options: Doorkeeper,
): Promise<number | undefined> {
  const { key, size, admit } = options;
  const challenge = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  link.send(FRAME.challenge, MAGIC, challenge);
  const frame = await link.read(MAX_BYTES);
  if (frame?.kind !== FRAME.answer || frame.body.byteLength !== ANSWER_BYTES) return undefined;
  const place = frame.body.subarray(0, PLACE_BYTES);
  const theirs = frame.body.subarray(PLACE_BYTES, PLACE_BYTES + NONCE_BYTES);
  const proof = frame.body.slice(PLACE_BYTES + NONCE_BYTES);
  const said = { challenge, answer: theirs, place };
  const refuse = async (reason: typeof REFUSALS[number]) => {
    link.send(FRAME.refusal, Uint8Array.of(REFUSALS.indexOf(reason)));
    await link.sent();
  };
  if (!await crypto.subtle.verify("HMAC", key, proof, words("rank", said))) {
    await refuse("it has another job key");
    return undefined;
  }
  const [rank = 0, theirSize = 0] = new Int32Array(place.slice().buffer);
  if (theirSize !== size) {
    await refuse("it has another WORLD_SIZE");
    return undefined;
  }
  const own = await sign(key, words("rank 0", said));
  if (rank < 1 || rank >= size || !admit(rank)) {
    await refuse("the rank has come already");
    return undefined;
  }
  link.send(FRAME.proof, own);
  return rank;
}

/**
 * The part of every other rank.
 *
 * @returns Whether rank 0 is at the other end; false if the connection ended before that was known.
 * @throws {UsageError} If rank 0 refuses this rank, or somebody else listens there.
 * @throws {WorkerError} If the rank has come already.
 */
export async function meetRankZero(
  link: Link,
  options: { key: JobKey; rank: number; size: number },
): Promise<boolean> {
  const { key, rank, size } = options;
  const first = await link.read(MAX_BYTES);
  if (first === undefined) return false;
  const isKnown = first.kind === FRAME.challenge &&
    first.body.byteLength === MAGIC.byteLength + NONCE_BYTES &&
    MAGIC.every((byte, i) => first.body[i] === byte);
  if (!isKnown) throw strangerError(link, "does not speak as rank 0 does");
  const challenge = first.body.subarray(MAGIC.byteLength);
  const answer = crypto.getRandomValues(new Uint8Array(NONCE_BYTES));
  const place = new Uint8Array(Int32Array.of(rank, size).buffer);
  const said = { challenge, answer, place };
  link.send(FRAME.answer, place, answer, await sign(key, words("rank", said)));
  const second = await link.read(MAX_BYTES);
  if (second === undefined) return false;
  if (second.kind === FRAME.refusal) {
    const reason = REFUSALS[second.body[0] ?? -1] ?? "it says no reason";
    const text = `Cannot join as rank 0 at ${link.peer} refuses rank ${rank}: ${reason}`;
    if (reason !== "the rank has come already") throw new RankUsageError(text);
    // It may be the same rank, whose first process was lost and started anew.
    throw new WorkerError(text, { rank, phase: "start" });
  }
  const isProven = second.kind === FRAME.proof &&
    await crypto.subtle.verify("HMAC", key, second.body, words("rank 0", said));
  if (!isProven) throw strangerError(link, "does not know the job key");
  return true;
}

/** Both sides' challenges and the speaker, so that no proof can be used again or sent back. */
function words(
  speaker: string,
  said: { challenge: Uint8Array; answer: Uint8Array; place: Uint8Array },
): Uint8Array<ArrayBuffer> {
  const { challenge, answer, place } = said;
  return Uint8Array.from([
    ...MAGIC,
    ...new TextEncoder().encode(`${speaker}\n`),
    ...challenge,
    ...answer,
    ...place,
  ]);
}

async function sign(key: JobKey, bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes));
}

function strangerError(link: Link, what: string): UsageError {
  return new RankUsageError(`Cannot join as who listens at ${link.peer} ${what}`);
}
