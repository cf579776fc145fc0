/**
 * The side of a rank: joins its group, serves requests, and ends with its parent.
 *
 * @module
 */
import { BorrowedCollective } from "../parallel/borrowed.ts";
import { AbortedError } from "../parallel/collective.ts";
import { ShmCollective } from "../parallel/shm.ts";
import { errorText, EXIT_CODES, invariant, WorkerError } from "../errors.ts";
import { Libc } from "../ffi/libc.ts";
import { type Border, RankDesk, type RankLink } from "./desk.ts";
import type { RankProgram, RankTypes } from "./program.ts";
import {
  type Command,
  encodeOutcome,
  type HelloToRank,
  type Message,
  type Outcome,
  PROTOCOL_VERSION,
  recordError,
} from "./protocol.ts";
import { encodeFrame, readMessages } from "./transport.ts";
import { gatherNumbers } from "./words.ts";

/** How often a rank says that its event loop turns. */
const BEAT_MS = 100;
/** The parent, which sees all ranks, is to say first which one hangs. */
const GRACE_MS = 3_000;

/**
 * Makes this process a rank of the team that started it; returns never.
 *
 * Standard output belongs to the protocol: nothing else may write there. Any error is sent to the
 * parent, which ends the team and throws it.
 */
export async function serveRank<T extends RankTypes>(
  program: RankProgram<T>,
): Promise<never> {
  // The terminal interrupts the whole process group; when to end is up to the parent.
  Deno.addSignalListener("SIGINT", () => {});
  // A file that may not grow (ulimit -f) is an error of its write, and no end without a word.
  Deno.addSignalListener("SIGXFSZ", () => {});
  const server = new RankServer(program);
  try {
    for await (const message of readMessages(Deno.stdin.readable)) server.receive(message);
  } catch (error) {
    await server.fail(error);
    Deno.exit(EXIT_CODES.workerLost);
  }
  // The parent has closed its end, or is gone.
  Deno.exit(0);
}

/** How far a rank's start is. */
type Stage = "hello" | "init" | "serving";

class RankServer<T extends RankTypes> {
  readonly #program: RankProgram<T>;
  readonly #output = new Output();
  #joined: { hello: HelloToRank; collective: ShmCollective } | undefined;
  #link: ChildLink | undefined;
  #expected: Stage = "hello";
  #busy = false;

  constructor(program: RankProgram<T>) {
    this.#program = program;
  }

  /** Takes a message; the work goes on behind it, so that the end of the input is noticed. */
  receive(message: Message): void {
    const link = this.#link;
    if (link !== undefined && (message.kind === "request" || message.kind === "cancel")) {
      return link.receive(message);
    }
    if (this.#busy || message.kind !== this.#expected) {
      throw new SyntaxError(`Cannot take '${message.kind}' from a parent now`);
    }
    this.#busy = true;
    this.#answer(message).catch((error) => this.fail(error));
  }

  /** Tells the other ranks and the parent; the parent ends this process then. */
  async fail(error: unknown): Promise<void> {
    if (!(error instanceof AbortedError)) this.#joined?.collective.abort(errorText(error));
    await this.#output.send({ kind: "error", error: recordError(error) });
  }

  async #answer(message: Message): Promise<void> {
    if (message.kind === "hello") return await this.#join(message);
    if (message.kind === "init") return await this.#init(message.body);
  }

  async #join(hello: HelloToRank): Promise<void> {
    endWithParent(hello.parentPid);
    const { memory, rank, size, slotBytes, timeoutMs } = hello;
    const collective = new ShmCollective(memory, { rank, size, slotBytes, timeoutMs });
    const { status } = collective;
    this.#joined = { hello, collective };
    Deno.unrefTimer(setInterval(() => status.beat(), BEAT_MS));
    status.enter("load");
    this.#expect("init");
    await this.#output.send({ kind: "joined", version: PROTOCOL_VERSION });
  }

  async #init(body: T["init"]): Promise<void> {
    invariant(this.#joined !== undefined, "hello comes before init");
    const { hello: { rank, size, timeoutMs }, collective } = this.#joined;
    const { status } = collective;
    const link = new ChildLink(collective, this.#output);
    const desk = new RankDesk<T>(link, { collective, status });
    const service = await this.#program.load(body, {
      rank,
      size,
      localSize: size,
      hasOwnFiles: false,
      collective: new BorrowedCollective(collective),
      carrier: "shared memory",
      hangTimeoutMs: timeoutMs + GRACE_MS,
      status,
      desk,
      describe: (rank) => `rank ${rank}`,
    });
    this.#link = link;
    this.#expect("serving");
    status.enter("idle");
    await this.#output.send({ kind: "ready", body: service.ready });
    await desk.serve(service);
  }

  /** The parent may send the next message as soon as it has the answer. */
  #expect(stage: Stage): void {
    this.#expected = stage;
    this.#busy = false;
  }
}

/**
 * Hears the parent, which tells all ranks the same in the same order: at a border they need only
 * agree on how much of it they take.
 */
class ChildLink implements RankLink {
  readonly #collective: ShmCollective;
  readonly #output: Output;
  /** What was taken, and what has come since. */
  #taken = 0;
  #coming: Command[] = [];
  readonly #cancelled = new Set<number>();
  #wake: (() => void) | undefined;

  constructor(collective: ShmCollective, output: Output) {
    this.#collective = collective;
    this.#output = output;
  }

  receive(command: Command): void {
    this.#coming.push(command);
    if (command.kind === "cancel") this.#cancelled.add(command.id);
    this.#wake?.();
  }

  async border(options: { wait: boolean; gaveUp: number }): Promise<Border> {
    if (options.wait) await this.#have(1);
    const own = this.#taken + this.#coming.length;
    const numbers = await gatherNumbers(this.#collective, [own, options.gaveUp]);
    const count = Math.max(...numbers.map(([known = 0]) => known)) - this.#taken;
    // Who has heard less has it on its way.
    await this.#have(count);
    const commands = this.#coming.splice(0, count);
    this.#taken += count;
    return { commands, isEnd: false, gaveUp: numbers.flatMap(([, id = 0]) => id > 0 ? [id] : []) };
  }

  isCancelled(id: number): boolean {
    return this.#cancelled.has(id);
  }

  progress(id: number, body: unknown): void {
    this.#output.sendLatest(id, { kind: "progress", id, body });
  }

  async report(outcomes: readonly Outcome[]): Promise<void> {
    for (const outcome of outcomes) {
      this.#cancelled.delete(outcome.id);
      await this.#output.send(encodeOutcome(outcome), outcome.id);
    }
  }

  async #have(count: number): Promise<void> {
    while (this.#coming.length < count) {
      await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }
}

/** Makes sure that this process does not outlive its parent, however that ends. */
function endWithParent(parentPid: number): void {
  using libc = new Libc();
  libc.dieWithParent();
  // The parent may have ended before the kernel was asked.
  if (libc.parentPid() !== parentPid) {
    throw new WorkerError(`Cannot serve process ${parentPid} as it is gone`, {
      rank: -1,
      phase: "start",
    });
  }
}

/** Frames to the parent, in order. */
class Output {
  readonly #writer = Deno.stdout.writable.getWriter();
  /** By request. */
  readonly #latest = new Map<number, Message>();
  #flushing = false;

  /**
   * Sends a message after those before it.
   *
   * @param id The request that ends with it: nothing more is said about it.
   */
  async send(message: Message, id?: number): Promise<void> {
    if (id !== undefined) this.#latest.delete(id);
    await this.#writer.write(encodeFrame(message));
  }

  /** Sends a message, or a later one instead, when the parent has taken the ones before. */
  sendLatest(id: number, message: Message): void {
    this.#latest.set(id, message);
    if (this.#flushing) return;
    this.#flushing = true;
    this.#flush().finally(() => {
      this.#flushing = false;
    });
  }

  async #flush(): Promise<void> {
    for (let next = this.#shift(); next !== undefined; next = this.#shift()) {
      await this.#writer.write(encodeFrame(next));
    }
  }

  #shift(): Message | undefined {
    const [first] = this.#latest;
    if (first === undefined) return undefined;
    const [id, message] = first;
    this.#latest.delete(id);
    return message;
  }
}
