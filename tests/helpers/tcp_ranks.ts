/**
 * The program on ranks that nothing but variables joins, on this machine or on two nodes: network
 * and UTS namespaces, joined by a bridge.
 *
 * @module
 */
import { freePort } from "./tcp_group.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;
// As the tasks have it.
const RUN = ["run", "--quiet", "--no-check", "--no-code-cache"];
/** Whoever is left then is ended. */
const LIMIT_SECONDS = 400;
const NEEDED = ["ip", "nsenter", "unshare", "timeout"];

/** How a rank ended. */
export interface RankEnd {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Where ranks run and meet. */
export interface RankPlaces {
  readonly size: number;
  /** Where rank 0 is met. @default {"127.0.0.1"} */
  readonly address?: string;
  /** Two namespaces that the ranks are divided among, the first ones in the first. */
  readonly nodes?: TwoNodes;
  /** Deno's permissions, for a port. @default {all} */
  permissions?(port: number): string[];
  /** Variables of one rank. */
  env?(rank: number): Record<string, string>;
}

/** Ranks that run; none of them ends another. */
export class TcpRanks implements AsyncDisposable {
  readonly #ranks: readonly StartedRank[];

  constructor(args: readonly string[], places: RankPlaces) {
    const { size, nodes, address = nodes?.addresses[0] ?? "127.0.0.1" } = places;
    const port = nodes === undefined ? freePort(address) : 29_500;
    const permissions = places.permissions?.(port) ?? ["-A"];
    const start = [Deno.execPath(), ...RUN, ...permissions, CLI, ...args];
    this.#ranks = Array.from({ length: size }, (_, rank) => {
      const node = rank < size / 2 ? 0 : 1;
      const env = {
        ...{ RANK: String(rank), WORLD_SIZE: String(size) },
        ...{ MASTER_ADDR: address, MASTER_PORT: String(port) },
        ...{ STARX_JOB_KEY: "a key of the tests alone", ...places.env?.(rank) },
      };
      return new StartedRank(nodes?.enter(node, start) ?? start, env);
    });
  }

  /** Settles when a rank has written a text to standard error. */
  async seen(marker: string, rank = 0): Promise<void> {
    await this.#ranks[rank]?.seen(marker);
  }

  /** The process numbers of the ranks, by rank. */
  pids(): number[] {
    return this.#ranks.map(({ pid }) => pid);
  }

  /** Sends one rank a signal. */
  signal(rank: number, signal: Deno.Signal): void {
    this.#ranks[rank]?.signal(signal);
  }

  /** How a rank ended. */
  async ended(rank: number): Promise<RankEnd> {
    const started = this.#ranks[rank];
    if (started === undefined) throw new RangeError(`There is no rank ${rank}`);
    return await started.ended();
  }

  /** How all ended, by rank. */
  async allEnded(): Promise<RankEnd[]> {
    return await Promise.all(this.#ranks.map((rank) => rank.ended()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const rank of this.#ranks) rank.signal("SIGKILL");
    await this.allEnded();
  }
}

class StartedRank {
  readonly #process: Deno.ChildProcess;
  readonly #end: Promise<RankEnd>;
  readonly #waiting = new Map<string, () => void>();
  #text = "";
  #isOver = false;

  constructor(command: readonly string[], env: Record<string, string>) {
    const [program = "", ...args] = command;
    const pipes = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
    this.#process = new Deno.Command(program, { args, env, ...pipes }).spawn();
    this.#end = this.#follow();
  }

  get pid(): number {
    return this.#process.pid;
  }

  async seen(marker: string): Promise<void> {
    if (this.#text.includes(marker)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#waiting.set(marker, resolve);
    await Promise.race([promise, this.#end]);
    if (!this.#text.includes(marker)) throw new Error(`It ended before that: ${this.#text}`);
  }

  signal(signal: Deno.Signal): void {
    if (!this.#isOver) this.#process.kill(signal);
  }

  async ended(): Promise<RankEnd> {
    return await this.#end;
  }

  async #follow(): Promise<RankEnd> {
    const limit = setTimeout(() => this.signal("SIGKILL"), LIMIT_SECONDS * 1000);
    const stdout = new Response(this.#process.stdout).text();
    for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
      for (const [marker, resolve] of this.#waiting) if (this.#text.includes(marker)) resolve();
    }
    const { code } = await this.#process.status;
    this.#isOver = true;
    clearTimeout(limit);
    return { code, stdout: await stdout, stderr: this.#text };
  }
}

/** Whether namespaces can be made here. */
export async function hasNamespaces(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  try {
    for (const name of NEEDED) await run(["sh", "-c", `command -v ${name}`]);
    await using _nodes = await TwoNodes.make();
    return true;
  } catch {
    return false;
  }
}

/** Two nodes of this machine, `n1` and `n2`. */
export class TwoNodes implements AsyncDisposable {
  readonly addresses: readonly [string, string];
  /** The same in IPv6. */
  readonly addresses6: readonly [string, string];
  /** Names of devices and addresses of these nodes alone. */
  readonly #id: string;

  private constructor() {
    this.#id = `t${crypto.getRandomValues(new Uint16Array(1))[0]?.toString(16)}`;
    const net = `10.214.${crypto.getRandomValues(new Uint8Array(1))[0]}`;
    this.addresses = [`${net}.11`, `${net}.12`];
    this.addresses6 = ["fd00:214::11", "fd00:214::12"];
  }

  static async make(): Promise<TwoNodes> {
    const nodes = new TwoNodes();
    try {
      await nodes.#make();
      return nodes;
    } catch (error) {
      await nodes[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A command as it runs on node 0 or 1. */
  enter(node: 0 | 1, command: readonly string[]): string[] {
    const script = `hostname n${node + 1} && exec "$@"`;
    return [
      ...["nsenter", `--net=/run/netns/${this.#id}n${node}`, "unshare", "--uts"],
      ...["sh", "-c", script, "sh", ...command],
    ];
  }

  /** Cuts the link of node 1: what is sent over it is lost. */
  async cut(): Promise<void> {
    await run(["ip", "link", "set", `${this.#id}v1`, "down"]);
  }

  async #make(): Promise<void> {
    const bridge = `${this.#id}b`;
    await run(["ip", "link", "add", bridge, "type", "bridge"]);
    await run(["ip", "link", "set", bridge, "up"]);
    for (const [node, address] of this.addresses.entries()) {
      const space = `${this.#id}n${node}`;
      const device = `${this.#id}v${node}`;
      await run(["ip", "netns", "add", space]);
      const peer = ["type", "veth", "peer", "name", "eth0", "netns", space];
      await run(["ip", "link", "add", device, ...peer]);
      await run(["ip", "link", "set", device, "master", bridge, "up"]);
      await run(["ip", "-n", space, "addr", "add", `${address}/24`, "dev", "eth0"]);
      // Without a search for twins an address can be used at once.
      const address6 = [`${this.addresses6[node]}/64`, "dev", "eth0", "nodad"];
      await run(["ip", "-n", space, "-6", "addr", "add", ...address6]);
      for (const name of ["lo", "eth0"]) await run(["ip", "-n", space, "link", "set", name, "up"]);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const commands = [
      ["ip", "link", "del", `${this.#id}v0`],
      ["ip", "link", "del", `${this.#id}v1`],
      ["ip", "netns", "del", `${this.#id}n0`],
      ["ip", "netns", "del", `${this.#id}n1`],
      ["ip", "link", "del", `${this.#id}b`],
    ];
    // What was not made cannot be removed.
    for (const command of commands) await run(command).catch(() => {});
  }
}

async function run([program = "", ...args]: readonly string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(program, { args, stdout: "null" }).output();
  if (!success) throw new Error(`${program}: ${new TextDecoder().decode(stderr)}`);
}
