/**
 * What ranks say in an exchange over TCP, as bytes: a part of one rank, the whole for all, and the
 * word that they have not called the same.
 *
 * @module
 */
import type { Call } from "./calls.ts";

/** A call with its number. */
export interface NumberedCall extends Call {
  /** The number of the exchange. */
  readonly epoch: number;
}

const NUMBERS = 4;
/** The bytes of a call. */
export const CALL_BYTES = NUMBERS * 8;

/** Writes calls down. */
export function writeCalls(calls: readonly NumberedCall[]): Uint8Array {
  const numbers = calls.flatMap((call) => [
    call.epoch,
    call.operation,
    call.byteLength,
    call.detail,
  ]);
  return new Uint8Array(Float64Array.from(numbers).buffer);
}

/**
 * Reads the call at the start of a body.
 *
 * @throws {SyntaxError} If the body is too short for one.
 */
export function readCall(body: Uint8Array): NumberedCall {
  if (body.byteLength < CALL_BYTES) {
    throw new SyntaxError(
      `Cannot read a call as it must have at least ${CALL_BYTES} bytes: ` +
        `current value is ${body.byteLength}`,
    );
  }
  const numbers = new Float64Array(body.slice(0, CALL_BYTES).buffer);
  const [epoch = 0, operation = 0, byteLength = 0, detail = 0] = numbers;
  return { epoch, operation, byteLength, detail };
}
