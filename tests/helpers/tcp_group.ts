/**
 * Ranks that exchange over TCP, all in this process, as the conformance suite takes them.
 *
 * @module
 */
import { TcpCollective, type TcpOptions } from "../../lib/parallel/tcp.ts";
import { importJobKey, type JobKey } from "../../lib/parallel/tcp_handshake.ts";
import type { TestGroup } from "./collective_suite.ts";

/** A key that is long enough. */
export async function testKey(text = "a key of the tests alone"): Promise<JobKey> {
  return await importJobKey(new TextEncoder().encode(text));
}

/** Ports that no system gives to connections by itself, those of each process apart. */
const FIRST_PORT = 12_000;
const PORTS = 100;
const PROCESSES = 85;
let taken = 0;

/** A port that nobody listens at, and that no other process of tests takes. */
export function freePort(hostname = "127.0.0.1"): number {
  for (;;) {
    const port = FIRST_PORT + (Deno.pid % PROCESSES) * PORTS + taken++ % PORTS;
    try {
      using listener = Deno.listen({ hostname, port });
      return listener.addr.port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}

/** A group of TCP that can be looked into. */
export interface TcpGroup extends TestGroup {
  readonly ranks: readonly TcpCollective[];
}

/** Joins ranks of this process. */
export async function connectTcp(
  size: number,
  options: Partial<TcpOptions> & { timeoutMs: number },
): Promise<TcpGroup> {
  const { address = "127.0.0.1" } = options;
  const port = freePort(address);
  const key = await testKey();
  const ranks = await Promise.all(Array.from({ length: size }, (_, rank) =>
    TcpCollective.join({
      ...{ rank, size, address, port, key, startTimeoutMs: 20_000 },
      ...options,
    })));
  return {
    ranks,
    async [Symbol.asyncDispose]() {
      for (const rank of ranks) rank.close();
      for (const rank of ranks) await rank.ended();
    },
  };
}
