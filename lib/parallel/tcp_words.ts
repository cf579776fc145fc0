/**
 * What ranks say in an exchange over TCP, as bytes: a part of one rank, the whole for all, and the
 * word that they have not called the same.
 *
 * @module
 */

/** What a rank calls. */
export interface Call {
  /** The number of the exchange. */
  readonly epoch: number;
  /** The index of `OPERATIONS`. */
  readonly operation: number;
  /** The length of a rank's data. */
  readonly byteLength: number;
  readonly detail: number;
}

/** For people; the index travels. */
export const OPERATIONS = ["none", "a barrier", "an all-gather", "a broadcast"] as const;
/** Indexes of `OPERATIONS`. */
export const BARRIER = 1;
/** See `BARRIER`. */
export const ALL_GATHER = 2;
/** See `BARRIER`. */
export const BROADCAST = 3;

const NUMBERS = 4;
/** The bytes of a call. */
export const CALL_BYTES = NUMBERS * 8;

/** Writes calls down. */
export function writeCalls(calls: readonly Call[]): Uint8Array {
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
export function readCall(body: Uint8Array): Call {
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

/** Whether two ranks call the same. */
export function isSameCall(a: Call, b: Call): boolean {
  return a.operation === b.operation && a.byteLength === b.byteLength && a.detail === b.detail;
}

/** A call for people. */
export function callText(call: Call): string {
  return `${OPERATIONS[call.operation] ?? "an unknown operation"} of ${call.byteLength} bytes`;
}
