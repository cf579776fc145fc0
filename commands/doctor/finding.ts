/**
 * What `doctor` says of one thing.
 *
 * @module
 */

/** One entry of the report; its text may have several lines. */
export interface Finding {
  readonly name: string;
  readonly text: string;
  /** What is to be done about it, if something is. */
  readonly remedy?: string;
  /** Set if nothing runs without it. */
  readonly error?: Error;
}

/** In front of further lines of a text. */
export const INDENT = " ".repeat(14);
