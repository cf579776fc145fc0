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

/** A port that nobody listened at a moment ago. */
export function freePort(hostname = "127.0.0.1"): number {
  using listener = Deno.listen({ hostname, port: 0 });
  return listener.addr.port;
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
