/**
 * The server over ranks: what becomes of it and of its clients when one is lost, or a client goes.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { RunningRanks } from "../helpers/nodes.ts";
import { childrenOf } from "../helpers/processes.ts";
import { MODEL } from "../helpers/prompts.ts";
import { hasMpirun } from "../helpers/remote_group.ts";

const CLI = new URL("../../cli.ts", import.meta.url).pathname;
const STAR = ["-p", MODEL, "-a", "star", "-bs", "256", "--device", "cpu", "--threads", "1"];
const PROMPT = "The grass is green. The sky is blue. ".repeat(60);

/** A server in a process of its own. */
class Served implements AsyncDisposable {
  readonly process: Deno.ChildProcess;
  readonly url: string;
  readonly log: Promise<string>;

  private constructor(process: Deno.ChildProcess, url: string, log: Promise<string>) {
    this.process = process;
    this.url = url;
    this.log = log;
  }

  /** Starts it, and waits until it listens. */
  static async start(args: readonly string[]): Promise<Served> {
    const process = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "-q", "--no-code-cache", CLI, "serve", ...STAR, "--port", "0", ...args],
      stdout: "null",
      stderr: "piped",
    }).spawn();
    const listening = Promise.withResolvers<string>();
    const log = (async () => {
      let text = "";
      for await (const part of process.stderr.pipeThrough(new TextDecoderStream())) {
        text += part;
        const [, url] = /Serving \S+ on (http:\S+)\/v1/.exec(text) ?? [];
        if (url !== undefined) listening.resolve(url);
      }
      listening.reject(new Error(`It ended before it listened: ${text}`));
      return text;
    })();
    return new Served(process, await listening.promise, log);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.process.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.process.status;
    await this.log;
  }
}

async function complete(
  url: string,
  fields: Record<string, unknown>,
  signal?: AbortSignal,
): Promise<Response> {
  return await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ prompt: PROMPT, max_tokens: 8, ...fields }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** The first pieces of a long answer, and the rest. */
async function openStream(url: string, signal?: AbortSignal) {
  const fields = { max_tokens: 4000, ignore_eos: true, stream: true };
  const { body } = await complete(url, fields, signal);
  assert(body !== null);
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  while (text.split("data: ").length < 4) {
    const { value, done } = await reader.read();
    assert(!done, text);
    text += value;
  }
  return { reader, text };
}

/** Waits until the metrics say something. */
async function metric(url: string, line: string): Promise<void> {
  while (true) {
    const text = await (await fetch(`${url}/metrics`)).text();
    if (text.includes(`${line}\n`)) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

Deno.test("serve ends with 5 when a worker is lost, and no client takes a part for the whole", async () => {
  await using served = await Served.start(["-np", "2", "--batch_size", "2"]);
  const { reader, text } = await openStream(served.url);
  assert(!text.includes("[DONE]"));
  const [, last] = childrenOf(served.process.pid).map(({ pid }) => pid);
  assert(last !== undefined, "it has two workers");
  Deno.kill(last, "SIGKILL");
  let rest = "";
  let failure: unknown;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) rest += part.value;
  } catch (error) {
    failure = error;
  }
  assert(failure instanceof Error && !rest.includes("[DONE]"), `${failure} behind ${rest}`);
  assertEquals((await served.process.status).code, 5);
  assertMatch(await served.log, /^error: .*rank 1\b.*$/m);
});

Deno.test("serve ends with 5 when a worker is lost while nobody asks", async () => {
  await using served = await Served.start(["-np", "2"]);
  const [first] = childrenOf(served.process.pid).map(({ pid }) => pid);
  assert(first !== undefined, "it has two workers");
  Deno.kill(first, "SIGKILL");
  assertEquals((await served.process.status).code, 5);
  assertMatch(await served.log, /^error: .*rank 0\b.*$/m);
});

Deno.test("serve on processes frees the sequence of a client that goes amid its stream", async () => {
  await using served = await Served.start(["-np", "2", "--batch_size", "1", "--max_queue", "0"]);
  const { url } = served;
  const expected = await (await complete(url, {})).json();
  for (let round = 0; round < 3; round++) {
    const leaving = new AbortController();
    const { reader } = await openStream(url, leaving.signal);
    const full = await complete(url, {});
    assertEquals(full.status, 429);
    await full.body?.cancel();
    leaving.abort();
    await reader.cancel().catch(() => {});
    await metric(url, "starx_prompts_running 0");
    const again = await (await complete(url, {})).json();
    assertEquals(again.choices, expected.choices);
  }
  served.process.kill("SIGINT");
  assertEquals((await served.process.status).code, 130);
});

Deno.test({
  name: "serve runs on the ranks of a launcher, and ends with them",
  ignore: !await hasMpirun("openmpi"),
  fn: async () => {
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr;
    listener.close();
    const args = ["serve", ...STAR, "--port", String(port)];
    const running = new RunningRanks(args, { size: 2, marker: "Serving " });
    await running.seen();
    const url = `http://127.0.0.1:${port}`;
    const pids = running.pids();
    assertEquals(pids.length, 2);
    const found = await (await complete(url, {})).json();
    await using alone = await Served.start(["-np", "2"]);
    const { choices } = await (await complete(alone.url, {})).json();
    assertEquals(found.choices, choices);
    // The second rank is lost: the launcher's other one says so.
    Deno.kill(pids[1] ?? 0, "SIGKILL");
    const { code, stderr, left } = await running.ended(pids);
    assert(code !== 0, stderr);
    assertEquals(left, []);
  },
});
