/**
 * Where a command writes: results to standard output, everything else to standard error, where a
 * bar of progress is drawn if that is a terminal.
 *
 * @module
 */
import { errorText, FileError } from "../../lib/errors.ts";

/** What a command writes to. */
export interface Screen {
  /** Results, with their newlines, to standard output. */
  print(text: string): void;
  /** One line of log to standard error. */
  log(line: string): void;
  /** Draws or replaces the bar; does nothing if standard error is no terminal. */
  bar(text: string): void;
  /** Whether bars are drawn. */
  readonly isTerminal: boolean;
}

/** The screen of this process. */
export function openScreen(): Screen {
  const isTerminal = Deno.stderr.isTerminal();
  let drawn = false;
  const erase = () => {
    if (drawn) write(Deno.stderr, "\r\x1b[K");
    drawn = false;
  };
  return {
    isTerminal,
    print(text) {
      erase();
      write(Deno.stdout, text);
    },
    log(line) {
      erase();
      write(Deno.stderr, `${line}\n`);
    },
    bar(text) {
      if (!isTerminal) return;
      erase();
      // A line that wraps could not be erased.
      write(Deno.stderr, text.slice(0, Math.max(1, Deno.consoleSize().columns - 1)));
      drawn = true;
    },
  };
}

function write(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = new TextEncoder().encode(text);
  try {
    for (let at = 0; at < bytes.length;) at += stream.writeSync(bytes.subarray(at));
  } catch (error) {
    throw new FileError(`Cannot write the output: ${errorText(error)}`, { cause: error });
  }
}
