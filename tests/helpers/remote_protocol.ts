/**
 * What a test and a rank of another process say to each other: lines of JSON.
 *
 * @module
 */
import type { ErrorRecord } from "../../lib/team/protocol.ts";

/** What a rank is asked to do. */
export interface RemoteCall {
  readonly id: number;
  readonly operation: "allGather" | "broadcast" | "barrier" | "abort" | "close" | "leave";
  /** Base64. */
  readonly data?: string;
  readonly outBytes?: number;
  readonly root?: number;
  readonly reason?: string;
  readonly timeoutMs?: number | undefined;
}

/** Its answer; the first one, with id -1, says who it is. */
export interface RemoteReply {
  readonly id: number;
  readonly rank?: number;
  readonly size?: number;
  readonly data?: string;
  readonly error?: ErrorRecord;
}

/** Bytes as text. */
export function encodeBytes(bytes: Uint8Array): string {
  return bytes.toBase64();
}

/** The inverse of `encodeBytes()`. */
export function decodeBytes(text: string): Uint8Array {
  return Uint8Array.fromBase64(text);
}
