/**
 * The processes that this program was started by and that end with it: `deno task`, `npx`, and the
 * shells between them. When one of them is killed, the program ends, as its workers do with it; a
 * user's shell, a terminal or a launcher may go away without that.
 *
 * @module
 */
import { Libc } from "../../lib/ffi/libc.ts";
import { ignoresHangup, type ProcessFacts, readProcess } from "../../lib/ffi/processes.ts";

/** Programs that run others and do nothing else; node calls its main thread so in some versions. */
const WRAPPERS = /^(deno|node|MainThread|npm|npx|pnpm|yarn|bun|bunx)\b/;
const SHELLS = /^(ba|da|z|k|a|fi|)sh$/;
/** How often it is looked after them. */
const LOOK_MS = 250;

/** Calls back when one of the wrappers above this process has gone. */
export class ParentWatch implements Disposable {
  readonly #libc: Libc;
  readonly #chain: readonly ProcessFacts[];
  readonly #timer: ReturnType<typeof setInterval>;

  private constructor(libc: Libc, chain: readonly ProcessFacts[], onLost: () => void) {
    this.#libc = libc;
    this.#chain = chain;
    this.#timer = setInterval(() => {
      if (this.#isWhole()) return;
      clearInterval(this.#timer);
      onLost();
    }, LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  /**
   * Begins to watch.
   *
   * @returns Undefined where there is nothing to watch: no wrapper, not Linux, a program that
   * survives its terminal (`nohup`), or one that may not look.
   */
  static start(onLost: () => void): ParentWatch | undefined {
    const { state } = Deno.permissions.querySync({ name: "ffi" });
    if (Deno.build.os !== "linux" || state !== "granted") return undefined;
    const libc = new Libc();
    const chain = ignoresHangup(libc)
      ? []
      : wrappersAbove(Deno.pid, (pid) => readProcess(libc, pid));
    if (chain.length > 1) return new ParentWatch(libc, chain, onLost);
    libc[Symbol.dispose]();
    return undefined;
  }

  /** Whether each process still has the parent that it had: an orphan gets another one. */
  #isWhole(): boolean {
    return this.#chain.slice(0, -1).every((process, i) => {
      const now = readProcess(this.#libc, process.pid);
      return now?.startTicks === process.startTicks && now.parent === this.#chain[i + 1]?.pid;
    });
  }

  /** Stops to watch; a second call does nothing. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#libc[Symbol.dispose]();
  }
}

/**
 * A process and the wrappers above it, up to the first that is none, or that is of another session
 * (`setsid`, a terminal).
 *
 * @param read Looks at a process.
 * @returns The process first.
 */
export function wrappersAbove(
  pid: number,
  read: (pid: number) => ProcessFacts | undefined,
): ProcessFacts[] {
  const own = read(pid);
  if (own === undefined) return [];
  const chain = [own];
  let shells: ProcessFacts[] = [];
  for (let next = read(own.parent); next !== undefined; next = read(next.parent)) {
    if (next.session !== own.session) break;
    if (SHELLS.test(next.name)) {
      // It counts if a wrapper called it; a user's own shell does not.
      shells.push(next);
    } else if (WRAPPERS.test(next.name)) {
      chain.push(...shells, next);
      shells = [];
    } else {
      break;
    }
  }
  return chain;
}
