/**
 * A Slurm cluster of two nodes on this machine (tests/helpers/slurm_cluster.sh), and what runs there.
 *
 * @module
 */
import type { Ended } from "./nodes.ts";
import { allProcesses, environmentOf } from "./processes.ts";

const SCRIPT = new URL("./slurm_cluster.sh", import.meta.url).pathname;
const NEEDED = ["slurmctld", "slurmd", "srun", "munged", "nsenter", "unshare", "ip"];
/** Slurm loads PMIx by this name. */
const PMIX = "/usr/lib/x86_64-linux-gnu/pmix2/lib/libpmix.so";

/** Another cluster has the number. */
const TAKEN = 75;
/** Numbers that a cluster may have, each a network of its own. */
const NUMBERS = 250;

/** How long a cluster's last writes may take. */
const REMOVE_MS = 60_000;

/** A process of a job. */
export interface JobRank {
  readonly pid: number;
  readonly rank: number;
  /** 0 or 1. */
  readonly node: number;
}

/** Whether a cluster can be started here. */
export async function hasSlurm(): Promise<boolean> {
  if (Deno.uid() !== 0) return false;
  const folders = (Deno.env.get("PATH") ?? "").split(":");
  const exists = (path: string) => Deno.stat(path).then(() => true, () => false);
  const found = await Promise.all(NEEDED.map(async (name) => {
    const places = await Promise.all(folders.map((folder) => exists(`${folder}/${name}`)));
    return places.includes(true);
  }));
  return !found.includes(false) && await exists(PMIX);
}

/** A running cluster. */
export class SlurmCluster implements AsyncDisposable {
  readonly #folder: string;
  /** Names of devices, network and ports of this cluster alone. */
  #id = "";
  readonly env: Readonly<Record<string, string>>;

  private constructor(folder: string) {
    this.#folder = folder;
    this.env = { SLURM_CONF: `${folder}/slurm.conf` };
  }

  static async start(): Promise<SlurmCluster> {
    const cluster = new SlurmCluster(await Deno.makeTempDir());
    try {
      await cluster.#claim();
      await cluster.#control("start");
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a program of Slurm; the program that nobody hears of again is ended. */
  spawn(name: string, args: readonly string[], options: { limitSeconds: number }): RunningJob {
    const limit = ["--kill-after=5", String(options.limitSeconds)];
    const command = new Deno.Command("timeout", {
      args: [...limit, name, ...args],
      env: this.env,
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    });
    return new RunningJob(command.spawn());
  }

  /** As `spawn()`, to its end. */
  async run(
    name: string,
    args: readonly string[],
    options: { limitSeconds: number } = { limitSeconds: 400 },
  ): Promise<Ended> {
    return await this.spawn(name, args, options).ended();
  }

  /** Cuts or mends the link of node 1 or 2. */
  async link(node: 1 | 2, state: "up" | "down"): Promise<void> {
    const args = ["link", "set", `sx${this.#id}v${node}`, state];
    await new Deno.Command("ip", { args }).output();
  }

  /** The ranks of all jobs of this cluster. */
  ranks(): JobRank[] {
    const found: JobRank[] = [];
    for (const pid of allProcesses()) {
      const environment = environmentOf(pid);
      if (environment.get("SLURM_CONF") !== this.env.SLURM_CONF) continue;
      const rank = environment.get("PMIX_RANK");
      if (rank === undefined) continue;
      const node = Number(environment.get("SLURM_NODEID"));
      found.push({ pid, rank: Number(rank), node });
    }
    return found.sort((a, b) => a.rank - b.rank);
  }

  /** What the daemons noted, for a test that fails. */
  async logs(): Promise<string> {
    const names = ["slurmctld.log", "slurmd-n1.log", "slurmd-n2.log"];
    const texts = await Promise.all(
      names.map((name) => Deno.readTextFile(`${this.#folder}/${name}`).catch(() => "")),
    );
    return texts.map((text) => text.split("\n").slice(-20).join("\n")).join("\n");
  }

  /** Takes a number that no other cluster of this machine has. */
  async #claim(): Promise<void> {
    for (;;) {
      const id = String(Math.floor(Math.random() * NUMBERS));
      const { code, stderr } = await this.#run("claim", id);
      if (code === TAKEN) continue;
      this.#id = id;
      if (code === 0) return;
      throw new Error(`Cannot claim a network: ${new TextDecoder().decode(stderr)}`);
    }
  }

  async #run(action: "claim" | "start" | "stop", id: string): Promise<Deno.CommandOutput> {
    const args = [SCRIPT, action, this.#folder, id];
    return await new Deno.Command("sh", { args, stdout: "null" }).output();
  }

  async #control(action: "start" | "stop"): Promise<void> {
    const { success, stderr } = await this.#run(action, this.#id);
    if (success) return;
    throw new Error(`Cannot ${action} Slurm: ${new TextDecoder().decode(stderr)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#control("stop");
    const endMs = performance.now() + REMOVE_MS;
    for (;;) {
      try {
        return await Deno.remove(this.#folder, { recursive: true });
      } catch (error) {
        // The last steps still write there.
        if (performance.now() > endMs) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
  }
}

/** A program of Slurm that runs. */
export class RunningJob {
  readonly #process: Deno.ChildProcess;
  readonly #stdout: Promise<string>;
  readonly #stderr: Promise<string>;
  readonly #seen = new Map<string, () => void>();
  #text = "";

  constructor(process: Deno.ChildProcess) {
    this.#process = process;
    this.#stdout = new Response(process.stdout).text();
    this.#stderr = this.#read();
  }

  /** The process that everything is below. */
  get pid(): number {
    return this.#process.pid;
  }

  /** What was written to standard error so far. */
  get errors(): string {
    return this.#text;
  }

  /** Settles when a text was written to standard error. */
  async seen(marker: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (this.#text.includes(marker)) return;
    this.#seen.set(marker, resolve);
    this.#process.status.then(() => reject(new Error(`It ended early: ${this.#text}`)));
    await promise;
  }

  async ended(): Promise<Ended> {
    const { code } = await this.#process.status;
    return { code, stdout: await this.#stdout, stderr: await this.#stderr };
  }

  async #read(): Promise<string> {
    for await (const text of this.#process.stderr.pipeThrough(new TextDecoderStream())) {
      this.#text += text;
      for (const [marker, resolve] of this.#seen) if (this.#text.includes(marker)) resolve();
    }
    return this.#text;
  }
}
