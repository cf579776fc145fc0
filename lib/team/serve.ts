/**
 * The side of a rank: joins its group, serves requests, and ends with its parent.
 *
 * @module
 */
import { AbortedError, type Collective } from "../parallel/collective.ts";
import { ShmCollective } from "../parallel/shm.ts";
import type { RankStatus } from "../parallel/state.ts";
import { errorText, EXIT_CODES, invariant, WorkerError } from "../errors.ts";
import { Libc } from "../ffi/libc.ts";
import { type HelloToRank, type Message, PROTOCOL_VERSION, recordError } from "./protocol.ts";
import type { RankTypes } from "./program.ts";
import { encodeFrame, readMessages } from "./transport.ts";

/** How often a rank says that its event loop turns. */
const BEAT_MS = 100;

/** What a rank works with. */
export interface RankContext {
  readonly rank: number;
  readonly size: number;
  /** The way to the other ranks. */
  readonly collective: Collective;
  /** How long a rank may make no progress. */
  readonly timeoutMs: number;
  /** Must be advanced at least once per time-out while the rank works. */
  readonly status: RankStatus;
}

/** What a rank offers when it is loaded. */
export interface RankService<T extends RankTypes> {
  /** Sent to the parent. */
  readonly ready: T["ready"];
  /**
   * Does one request; all ranks get the same ones in the same order.
   *
   * @param call.progress Tells the parent; when it reads slowly, only the latest one is kept.
   */
  run(
    request: T["request"],
    call: { progress(body: T["progress"]): void },
  ): Promise<T["result"]>;
}

/** Loads what a rank needs. */
export type LoadRank<T extends RankTypes> = (
  init: T["init"],
  context: RankContext,
) => Promise<RankService<T>>;

/**
 * Makes this process a rank of the pool that started it; returns never.
 *
 * Standard output belongs to the protocol: nothing else may write there. Any error is sent to the
 * parent, which ends the pool and throws it.
 */
export async function serveRank<T extends RankTypes>(load: LoadRank<T>): Promise<never> {
  // The terminal interrupts the whole process group; when to end is up to the parent.
  Deno.addSignalListener("SIGINT", () => {});
  const server = new RankServer(load);
  try {
    for await (const message of readMessages(Deno.stdin.readable)) server.receive(message);
  } catch (error) {
    await server.fail(error);
    Deno.exit(EXIT_CODES.workerLost);
  }
  // The parent has closed its end, or is gone.
  Deno.exit(0);
}

class RankServer<T extends RankTypes> {
  readonly #load: LoadRank<T>;
  readonly #output = new Output();
  #context: RankContext | undefined;
  #service: RankService<T> | undefined;
  #busy = false;

  constructor(load: LoadRank<T>) {
    this.#load = load;
  }

  /** Takes a message; the work goes on behind it, so that the end of the input is noticed. */
  receive(message: Message): void {
    if (this.#busy) throw new SyntaxError(`Cannot take '${message.kind}' while a request runs`);
    this.#busy = true;
    this.#answer(message).catch((error) => this.fail(error));
  }

  /** Tells the other ranks and the parent; the parent ends this process then. */
  async fail(error: unknown): Promise<void> {
    if (!(error instanceof AbortedError)) this.#context?.collective.abort(errorText(error));
    await this.#output.send({ kind: "error", error: recordError(error) });
  }

  async #answer(message: Message): Promise<void> {
    if (message.kind === "hello") return await this.#join(message);
    if (message.kind === "init") return await this.#init(message.body);
    if (message.kind === "request") return await this.#run(message.id, message.body);
    throw new SyntaxError(`Cannot take '${message.kind}' from a parent`);
  }

  async #join(hello: HelloToRank): Promise<void> {
    endWithParent(hello.parentPid);
    const { memory, rank, size, slotBytes, timeoutMs } = hello;
    const collective = new ShmCollective(memory, { rank, size, slotBytes, timeoutMs });
    const { status } = collective;
    this.#context = { rank, size, collective, timeoutMs, status };
    Deno.unrefTimer(setInterval(() => status.beat(), BEAT_MS));
    status.enter("load");
    await this.#reply({ kind: "joined", version: PROTOCOL_VERSION });
  }

  async #init(body: T["init"]): Promise<void> {
    const context = this.#context;
    invariant(context !== undefined, "hello comes before init");
    this.#service = await this.#load(body, context);
    context.status.enter("idle");
    await this.#reply({ kind: "ready", body: this.#service.ready });
  }

  async #run(id: number, request: T["request"]): Promise<void> {
    const context = this.#context;
    const service = this.#service;
    invariant(context !== undefined && service !== undefined, "init comes before requests");
    // Before any work, so that the time since the last request does not count.
    context.status.advance();
    const body = await service.run(request, {
      progress: (body) => this.#output.sendLatest({ kind: "progress", id, body }),
    });
    context.status.enter("idle");
    await this.#reply({ kind: "result", id, body });
  }

  async #reply(message: Message): Promise<void> {
    // The parent may send the next message as soon as it has this one.
    this.#busy = false;
    await this.#output.send(message);
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
  #latest: Message | undefined;
  #flushing = false;

  /** Sends a message after those before it. */
  async send(message: Message): Promise<void> {
    this.#latest = undefined;
    await this.#writer.write(encodeFrame(message));
  }

  /** Sends a message, or a later one instead, when the parent has taken the ones before. */
  sendLatest(message: Message): void {
    this.#latest = message;
    if (this.#flushing) return;
    this.#flushing = true;
    this.#flush().finally(() => {
      this.#flushing = false;
    });
  }

  async #flush(): Promise<void> {
    while (this.#latest !== undefined) {
      const message = this.#latest;
      this.#latest = undefined;
      await this.#writer.write(encodeFrame(message));
    }
  }
}
