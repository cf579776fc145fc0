/**
 * What the parent and its ranks say to each other.
 *
 * Order: hello from both sides, init answered by ready, then requests, as many as one likes, each
 * with a number. Every request is answered once by each rank: by a result, by refused (all ranks
 * found the same fault and go on), or by dropped after a cancel; progress at any time before. An
 * error ends the team. The end of its input ends a rank.
 *
 * @module
 */
import { AbortedError } from "../parallel/collective.ts";
import {
  DeviceError,
  FileError,
  InvariantError,
  KernelError,
  RequestError,
  UsageError,
  WorkerError,
} from "../errors.ts";

/** Goes up with every change that an older rank or parent would misread. */
export const PROTOCOL_VERSION = 3;

/** A rank's place in its group. */
export interface HelloToRank {
  readonly kind: "hello";
  readonly version: number;
  readonly parentPid: number;
  readonly rank: number;
  readonly size: number;
  /** The path of the group's shared memory. */
  readonly memory: string;
  readonly slotBytes: number;
  readonly timeoutMs: number;
}

/** What a rank says when it has joined its group. */
export interface HelloToParent {
  readonly kind: "joined";
  readonly version: number;
}

/** An error on its way to another process. */
export interface ErrorRecord {
  readonly name: string;
  readonly message: string;
  /** Of `WorkerError`. */
  readonly rank?: number;
  readonly phase?: string;
  /** Of `KernelError`. */
  readonly op?: string;
  readonly status?: string;
  /** Of bugs. */
  readonly stack?: string;
}

/** All messages of both directions. */
export type Message =
  | HelloToRank
  | HelloToParent
  | { readonly kind: "init"; readonly body: unknown }
  | { readonly kind: "ready"; readonly body: unknown }
  | { readonly kind: "request"; readonly id: number; readonly body: unknown }
  | { readonly kind: "cancel"; readonly id: number }
  | { readonly kind: "progress"; readonly id: number; readonly body: unknown }
  | { readonly kind: "result"; readonly id: number; readonly body: unknown }
  | { readonly kind: "refused"; readonly id: number; readonly error: ErrorRecord }
  | { readonly kind: "dropped"; readonly id: number }
  | { readonly kind: "error"; readonly error: ErrorRecord };

/** What happened to requests, in the order in which it did. */
export type Command =
  | { readonly kind: "request"; readonly id: number; readonly body: unknown }
  | { readonly kind: "cancel"; readonly id: number };

/** How a request ended on a rank. */
export type Outcome =
  | { readonly kind: "result"; readonly id: number; readonly body: unknown }
  | { readonly kind: "refused"; readonly id: number; readonly error: Error }
  | { readonly kind: "dropped"; readonly id: number };

/** An outcome as it crosses to another process. */
export type OutcomeRecord = Extract<Message, { kind: Outcome["kind"] }>;

/** An outcome as it crosses. */
export function encodeOutcome(outcome: Outcome): OutcomeRecord {
  return outcome.kind === "refused" ? { ...outcome, error: recordError(outcome.error) } : outcome;
}

/** The inverse of `encodeOutcome()`. */
export function decodeOutcome(record: OutcomeRecord): Outcome {
  return record.kind === "refused" ? { ...record, error: restoreError(record.error) } : record;
}

/** The fields that each kind must have, and their types; bodies are checked by their readers. */
const FIELDS: Readonly<Record<Message["kind"], Readonly<Record<string, string>>>> = {
  hello: {
    version: "number",
    parentPid: "number",
    rank: "number",
    size: "number",
    memory: "string",
    slotBytes: "number",
    timeoutMs: "number",
  },
  joined: { version: "number" },
  init: {},
  ready: {},
  request: { id: "number" },
  cancel: { id: "number" },
  progress: { id: "number" },
  result: { id: "number" },
  refused: { id: "number", error: "object" },
  dropped: { id: "number" },
  error: { error: "object" },
};

/**
 * Checks what another process sent.
 *
 * @param value Parsed JSON.
 * @throws {SyntaxError} If it is no message of this version.
 */
export function parseMessage(value: unknown): Message {
  if (!isRecord(value) || typeof value.kind !== "string" || !Object.hasOwn(FIELDS, value.kind)) {
    throw new SyntaxError(`Cannot read a message as 'kind' is unknown: ${clip(value)}`);
  }
  const { kind, version } = value;
  if ((kind === "hello" || kind === "joined") && version !== PROTOCOL_VERSION) {
    throw new SyntaxError(
      `Cannot talk to this process as its protocol version must be ${PROTOCOL_VERSION}: ` +
        `current value is ${version}`,
    );
  }
  for (const [name, type] of Object.entries(FIELDS[kind as Message["kind"]])) {
    if (typeof value[name] !== type || value[name] === null) {
      throw new SyntaxError(
        `Cannot read a message as '${name}' must be of type ${type}: ${clip(value)}`,
      );
    }
  }
  if (isRecord(value.error)) {
    const { name, message } = value.error;
    if (typeof name !== "string" || typeof message !== "string") {
      throw new SyntaxError(`Cannot read a message as 'error' has no name: ${clip(value)}`);
    }
  }
  return value as unknown as Message;
}

/** Writes an error down. */
export function recordError(error: unknown): ErrorRecord {
  if (!(error instanceof Error)) return { name: "Error", message: String(error) };
  const { name, message } = error;
  if (error instanceof WorkerError) return { name, message, rank: error.rank, phase: error.phase };
  if (error instanceof KernelError) return { name, message, op: error.op, status: error.status };
  return error.stack === undefined ? { name, message } : { name, message, stack: error.stack };
}

/** The error of the same class and message, as if it had been thrown here. */
export function restoreError(record: ErrorRecord): Error {
  const { name, message } = record;
  const { rank = -1, phase = "unknown", op = "unknown", status = "unknown" } = record;
  switch (name) {
    case "WorkerError":
      return new WorkerError(message, { rank, phase });
    case "AbortedError":
      return new AbortedError(message, { rank, phase });
    case "KernelError":
      return new KernelError(message, { op, status });
    case "RequestError":
      return new RequestError(message);
    case "UsageError":
      return new UsageError(message);
    case "FileError":
      return new FileError(message);
    case "DeviceError":
      return new DeviceError(message);
    default:
      return restoreBuiltIn(record);
  }
}

/** What remains are wrong inputs or bugs; where it happened is in the other process. */
function restoreBuiltIn(record: ErrorRecord): Error {
  const { name, message, stack } = record;
  const error = name === "TypeError"
    ? new TypeError(message)
    : name === "RangeError"
    ? new RangeError(message)
    : name === "SyntaxError"
    ? new SyntaxError(message)
    : name === "InvariantError"
    ? new InvariantError(message)
    : new Error(message);
  if (stack !== undefined) error.stack = stack;
  return error;
}

/** Whole numbers as text for a body: base64 of 32-bit little-endian integers. */
export function encodeInt32(values: Int32Array): string {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength).toBase64();
}

/**
 * Reads what `encodeInt32()` wrote.
 *
 * @throws {SyntaxError} If it is no base64 or no whole number of integers.
 */
export function decodeInt32(text: string): Int32Array<ArrayBuffer> {
  const bytes = Uint8Array.fromBase64(text);
  if (bytes.byteLength % 4 !== 0) {
    throw new SyntaxError(
      `Cannot read integers as their bytes must be a multiple of 4: ` +
        `current value is ${bytes.byteLength}`,
    );
  }
  return new Int32Array(bytes.buffer, 0, bytes.byteLength / 4);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The beginning of a value, for an error message. */
function clip(value: unknown): string {
  return (JSON.stringify(value) ?? "undefined").slice(0, 80);
}
