/**
 * Shows on stderr how far a download is: a moving line on a terminal, one line per file elsewhere.
 *
 * @module
 */

/** What downloads report to. */
export interface Progress {
  /** The file at hand and how much of it is there; `totalBytes` is undefined if nobody knows. */
  update(name: string, state: { doneBytes: number; totalBytes: number | undefined }): void;
  /** A line that stays, without its newline. */
  note(text: string): void;
}

/** Options of {@linkcode streamProgress}. */
export interface StreamProgressOptions {
  /** Whether lines can be written over. */
  readonly isTerminal: boolean;
  /** Takes the text, newlines included. */
  readonly write: (text: string) => void;
  /** Milliseconds from any start. */
  readonly nowMs: () => number;
}

const REDRAW_MS = 100;
const CLEAR_LINE = "\r\x1b[K";

/**
 * Progress as text.
 *
 * @param options Where it goes.
 */
function streamProgress(options: StreamProgressOptions): Progress {
  const { isTerminal, write, nowMs } = options;
  let drawnMs = -Infinity;
  let isLineOpen = false;
  return {
    update(name, { doneBytes, totalBytes }) {
      if (!isTerminal || nowMs() - drawnMs < REDRAW_MS) return;
      drawnMs = nowMs();
      isLineOpen = true;
      const percent = totalBytes ? ` ${Math.floor(100 * doneBytes / totalBytes)} %` : "";
      const total = totalBytes === undefined ? "" : ` of ${formatBytes(totalBytes)}`;
      write(`${CLEAR_LINE}${name}${percent} (${formatBytes(doneBytes)}${total})`);
    },
    note(text) {
      write(`${isLineOpen ? CLEAR_LINE : ""}${text}\n`);
      isLineOpen = false;
    },
  };
}

/** Progress on this process's stderr. */
export function stderrProgress(): Progress {
  return streamProgress({
    isTerminal: Deno.stderr.isTerminal(),
    write: (text) => Deno.stderr.writeSync(new TextEncoder().encode(text)),
    nowMs: () => performance.now(),
  });
}

/** A size for people: `4.2 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["KiB", "MiB", "GiB", "TiB"];
  if (bytes < 1024) return `${bytes} B`;
  let value = bytes / 1024;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value.toFixed(1)} ${units[unit]}`;
}
