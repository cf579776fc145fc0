/**
 * A rank that does as it is told: computes, gathers, hangs, fails.
 *
 * @module
 */
import {
  DeviceError,
  FileError,
  InvariantError,
  KernelError,
  UsageError,
} from "../../lib/errors.ts";
import { Libc, timespec } from "../../lib/ffi/libc.ts";
import { addressOf } from "../../lib/ffi/memory.ts";
import { oneAtATime, type RankCall } from "../../lib/team/one_at_a_time.ts";
import type { RankContext, RankProgram, RankService } from "../../lib/team/program.ts";
import { serveRank } from "../../lib/team/serve.ts";

/** What a fake rank can be asked to do; `rank` limits it to one rank. */
export type FakeRequest =
  | { kind: "echo"; value: string }
  /** Phase 1: small steps for a time. */
  | { kind: "compute"; sample: number; durationMs: number }
  /** Phase 2: all-gathers for a number of rounds. */
  | { kind: "gather"; sample: number; rounds: number }
  /** One rank is alone in phase 1 for a time, the others wait for it. */
  | { kind: "wait"; sample: number; rank: number; durationMs: number }
  /** A foreign call that blocks the event loop. */
  | { kind: "block"; durationMs: number }
  | { kind: "throw"; rank: number; name: string; message: string }
  | { kind: "crash"; rank: number; message: string }
  | { kind: "print"; rank: number; text: string }
  | { kind: "report"; count: number }
  /** Steps with a turn behind each; `alone` looks for its end on its own in between. */
  | { kind: "turns"; sample: number; count: number; alone?: boolean }
  /** Refused by the rank, hence by all. */
  | { kind: "refuse"; rank: number; name: string; message: string };

/** The bodies of the fake protocol. */
export interface FakeTypes {
  init: { greeting: string; fail?: string };
  ready: { greeting: string; rank: number; size: number; pid: number };
  request: FakeRequest;
  result: { rank: number; value: string };
  progress: { done: number };
}

type Context = RankContext<FakeTypes>;

const ERRORS: Readonly<Record<string, (message: string) => Error>> = {
  UsageError: (message) => new UsageError(message),
  FileError: (message) => new FileError(message),
  DeviceError: (message) => new DeviceError(message),
  KernelError: (message) => new KernelError(message, { op: "sx_matmul", status: "SX_ERROR" }),
  RangeError: (message) => new RangeError(message),
  InvariantError: (message) => new InvariantError(message),
};

function sleep(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

async function compute(durationMs: number, { status }: Context): Promise<void> {
  const endMs = performance.now() + durationMs;
  while (performance.now() < endMs) {
    status.advance();
    await sleep(5);
  }
}

async function gather(rounds: number, { collective, rank, size }: Context): Promise<string> {
  const part = new Uint8Array(100);
  const out = new Uint8Array(size * 100);
  let sum = 0;
  for (let round = 0; round < rounds; round++) {
    part.fill(rank * 10 + round);
    await collective.allGather(part, out);
    for (let i = 0; i < size; i++) sum += out[i * 100 + 99] ?? 0;
  }
  return String(sum);
}

async function act(
  request: FakeRequest,
  options: { context: Context; call: RankCall<FakeTypes> },
): Promise<string> {
  const { context, call } = options;
  const { status, collective, rank } = context;
  switch (request.kind) {
    case "echo":
      return request.value;
    case "compute":
      status.enter("phase 1", request.sample);
      call.progress({ done: 0 });
      await compute(request.durationMs, context);
      return "";
    case "gather":
      status.enter("phase 2", request.sample);
      call.progress({ done: 0 });
      return await gather(request.rounds, context);
    case "wait":
      status.enter("phase 1", request.sample);
      call.progress({ done: 0 });
      if (rank === request.rank) await compute(request.durationMs, context);
      call.progress({ done: 1 });
      await collective.barrier();
      return "";
    case "block": {
      status.enter("phase 1", 0);
      call.progress({ done: 0 });
      // Once it blocks nothing can be written any more.
      await sleep(50);
      using libc = new Libc();
      const timeout = timespec(request.durationMs * 1000);
      libc.waitWhile(addressOf(new Int32Array(1)), { value: 0, timeout });
      return "";
    }
    case "report":
      for (let done = 1; done <= request.count; done++) {
        call.progress({ done });
        await sleep(2);
      }
      return "";
    case "turns":
      status.enter("phase 1", request.sample);
      for (let done = 1; done <= request.count; done++) {
        call.progress({ done });
        status.advance();
        await sleep(2);
        if (request.alone === true) call.checkpoint();
        else await call.turn();
      }
      await call.turn();
      return "";
    case "refuse":
      await call.agree(() => {
        if (rank === request.rank) throw ERRORS[request.name]?.(request.message);
        return undefined;
      });
      return "";
    default:
      if (rank === request.rank) await misbehave(request);
      status.enter("phase 2", 0);
      await collective.barrier();
      return "";
  }
}

async function misbehave(
  request: Extract<FakeRequest, { kind: "throw" | "crash" | "print" }>,
): Promise<void> {
  if (request.kind === "print") {
    Deno.stdout.writeSync(new TextEncoder().encode(request.text));
    await sleep(60_000);
  } else if (request.kind === "crash") {
    Deno.stderr.writeSync(new TextEncoder().encode(`${request.message}\n`));
    Deno.exit(70);
  } else {
    throw ERRORS[request.name]?.(request.message);
  }
}

function load(init: FakeTypes["init"], context: Context): Promise<RankService<FakeTypes>> {
  const { rank, size } = context;
  if (init.fail !== undefined) throw new FileError(init.fail);
  return Promise.resolve(oneAtATime(context, {
    ready: { greeting: init.greeting, rank, size, pid: Deno.pid },
    run: async (request, call) => ({ rank, value: await act(request, { context, call }) }),
    dispose() {},
  }));
}

/** The program of fake ranks. */
export const FAKE_PROGRAM: RankProgram<FakeTypes> = {
  name: "fake",
  entry: new URL(import.meta.url),
  permissions: [],
  load,
};

if (import.meta.main) await serveRank(FAKE_PROGRAM);
