/**
 * One child process, seen from the parent: its start, its messages, its end.
 *
 * @module
 */
import { DeviceError, errorText } from "../errors.ts";
import type { Message } from "./protocol.ts";
import { readMessages } from "./transport.ts";

/** What a child is started with. */
export interface ChildOptions {
  readonly rank: number;
  /** A `file:`, `http:` or `https:` address. */
  readonly entry: URL;
  /** Environment variables besides this process's. */
  readonly env: Readonly<Record<string, string>>;
  /** `deno run`'s flags, before the entry. */
  readonly flags: readonly string[];
  onMessage(message: Message): void;
  /** A line that the child wrote to standard error. */
  onLine(line: string): void;
  /**
   * Called once, when nothing more can come, with the reason as a sentence's end, and the exit code
   * unless a signal or a fault ended it.
   */
  onEnd(cause: string, code?: number): void;
}

/** The longest wait for the last words of a child that has ended. */
const LAST_WORDS_MS = 500;
/** A child's line beyond this is cut into several. */
const MAX_LINE_CHARS = 4096;

/** A running child process. */
export class Child {
  readonly rank: number;
  readonly pid: number;
  /** Settles when the process has ended and its status has been read. */
  readonly ended: Promise<void>;
  readonly #process: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  #running = true;

  /** Starts the process. @throws {DeviceError} If the system has no process or no pipe for it. */
  constructor(options: ChildOptions) {
    const { rank, entry, env, flags } = options;
    this.rank = rank;
    const command = new Deno.Command(Deno.execPath(), {
      // The argument is for people who look at the list of processes.
      args: ["run", ...flags, entry.href, `--rank=${rank}`],
      env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    });
    try {
      this.#process = command.spawn();
    } catch (error) {
      // Permissions are the caller's matter; what is left is that the system has none to give.
      if (error instanceof Deno.errors.NotCapable) throw error;
      throw new DeviceError(`Cannot start rank ${rank}: ${errorText(error)}`, { cause: error });
    }
    this.pid = this.#process.pid;
    this.#writer = this.#process.stdin.getWriter();
    const messages = this.#readMessages(options);
    const lines = readLines(this.#process.stderr, options.onLine);
    this.ended = this.#watch(options, [messages, lines]);
  }

  /** Sends a frame; a child that is gone says so by its end, not here. */
  send(frame: Uint8Array<ArrayBuffer>): void {
    this.#writer.write(frame).catch(() => this.kill());
  }

  /** Ends its input, upon which it ends itself. */
  closeInput(): void {
    // Fails only if the pipe is broken, because the child has ended already.
    this.#writer.close().catch(() => {});
  }

  /** Ends it at once, also when it is stopped. */
  kill(): void {
    if (!this.#running) return;
    try {
      this.#process.kill("SIGKILL");
    } catch (error) {
      // It ended by itself in the meantime.
      if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
    }
  }

  async #watch(options: ChildOptions, streams: Promise<string | void>[]): Promise<void> {
    const status = await this.#process.status;
    this.#running = false;
    this.#writer.abort().catch(() => {});
    const timer = new AbortController();
    const [fault] = await Promise.race([
      Promise.all(streams),
      delay(LAST_WORDS_MS, timer.signal).then(() => [undefined]),
    ]);
    timer.abort();
    if (fault === undefined && status.signal === null) {
      options.onEnd(statusText(status), status.code);
    } else {
      options.onEnd(fault ?? statusText(status));
    }
  }

  /** The fault that ended the conversation, if it was one. */
  async #readMessages(options: ChildOptions): Promise<string | undefined> {
    try {
      for await (const message of readMessages(this.#process.stdout)) options.onMessage(message);
      return undefined;
    } catch (error) {
      // Who speaks another protocol cannot be asked to end.
      this.kill();
      return `its output is not understood: ${errorText(error)}`;
    }
  }
}

/** How a process ended, as a sentence's end. */
function statusText(status: Deno.CommandStatus): string {
  if (status.signal !== null) return `its process was ended by ${status.signal}`;
  return `its process ended with exit code ${status.code}`;
}

/** Resolves after a time, or at once when it is aborted. */
export function delay(durationMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, durationMs);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    while (rest.length > MAX_LINE_CHARS) {
      lines.push(rest.slice(0, MAX_LINE_CHARS));
      rest = rest.slice(MAX_LINE_CHARS);
    }
    for (const line of lines) onLine(line);
  }
  if (rest !== "") onLine(rest);
}
