/**
 * The command `bench` on several processes: what it says, not how long it takes.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { type Ended, runAlone, runRanks } from "../helpers/nodes.ts";
import { MODEL } from "../helpers/prompts.ts";
import { hasMpirun } from "../helpers/remote_group.ts";

/** What a line of details must have. */
interface Details {
  readonly mode: string;
  readonly ranks: number;
  readonly exchange?: string;
  readonly prefill: readonly { n: number; seconds: readonly number[]; density: number }[];
  readonly decode: readonly { ctx: number; tokens_per_s: number }[];
  readonly copy_gb_per_s: number;
}

const SIZES = ["-bs", "512", "-l", "2048", "--decode", "1024", "--decode_tokens", "3"];

function readDetails(text: string): Details[] {
  const lines = text.trim().split("\n");
  return lines.filter((line) => line.startsWith('{"mode"')).map((line) => JSON.parse(line));
}

/** Checks what every run must say. */
function checkDetails(details: readonly Details[], expected: { ranks: number; exchange: RegExp }) {
  for (const { ranks, exchange = "", prefill, decode, copy_gb_per_s: rate } of details) {
    assertEquals(ranks, expected.ranks);
    assertMatch(exchange, expected.exchange);
    assertEquals(prefill.map(({ n }) => n), [2048]);
    assertEquals(decode.map(({ ctx }) => ctx), [1024]);
    assert(prefill.every(({ seconds }) => seconds.length === 2 && seconds.every((s) => s > 0)));
    assert(decode.every(({ tokens_per_s: tokens }) => tokens > 0) && rate > 0);
  }
}

Deno.test("bench times a model on two processes in every mode that shares a context", () =>
  inFolder({}, async (folder) => {
    const path = `${folder}/details.jsonl`;
    const flags = ["-np", "2", "-p", MODEL, "-a", "star", "starx", "ring", "--repeats", "2"];
    const ended = await runAlone(["bench", ...flags, ...SIZES, "--json_path", path]);
    assertEquals(ended.code, 0, ended.stderr);
    assertMatch(ended.stdout, /starx-tiny, cpu .*, 2 processes over shared memory, bf16, ring\n/);
    const details = readDetails(await Deno.readTextFile(path));
    assertEquals(details.map(({ mode }) => mode), ["star", "starx", "ring"]);
    checkDetails(details, { ranks: 2, exchange: /^shared memory$/ });
  }));

Deno.test("bench with --json prints the details and the times of each mode", async () => {
  const flags = ["-np", "2", "--shape", "small", "-a", "starx", "--density", "0.5", "--json"];
  const ended = await runAlone(["bench", ...flags, ...SIZES, "--repeats", "2"]);
  assertEquals(ended.code, 0, ended.stderr);
  const [details, times, ...rest] = ended.stdout.trim().split("\n");
  assertEquals(rest, []);
  const [found] = readDetails(details ?? "");
  assert(found !== undefined);
  checkDetails([found], { ranks: 2, exchange: /^shared memory$/ });
  const [density = 0] = found.prefill.map(({ density }) => density);
  assert(density > 0.3 && density < 0.9, `forced to a half: ${density}`);
  const { prefill: [run], decode: [token] } = JSON.parse(times ?? "");
  assertEquals([run.n, token.ctx], [2048, 1024]);
  assert(run.s_min > 0 && run.s_med >= run.s_min && token.s_med > 0);
});

function assertRefused(ended: Ended): void {
  assertMatch(
    ended.stderr,
    /error: --attn_type: must be star, starx, ring or ringx with 2 processes: current value is 'dense'/,
  );
}

Deno.test("bench refuses modes of one process on several", async () => {
  const ended = await runAlone(["bench", "-np", "2", "--shape", "small", "-a", "star", "dense"]);
  assertEquals(ended.code, 2);
  assertRefused(ended);
});

Deno.test({
  name: "bench runs on the ranks of a launcher, and one of them speaks",
  ignore: !await hasMpirun("openmpi"),
  fn: async () => {
    const flags = ["bench", "--shape", "small", "-a", "star", "ring", "--json", "--repeats", "2"];
    const ended = await runRanks([...flags, ...SIZES], { flavour: "openmpi", size: 2 });
    assertEquals(ended.code, 0, ended.stderr);
    const details = readDetails(ended.stdout);
    assertEquals(details.map(({ mode }) => mode), ["star", "ring"]);
    checkDetails(details, { ranks: 2, exchange: /MPI/ });
    assertRefused(
      await runRanks(["bench", "--shape", "small", "-a", "dense"], { flavour: "openmpi", size: 2 }),
    );
  },
});

Deno.test("bench keeps what it measured when it is interrupted", async () => {
  const cli = new URL("../../cli.ts", import.meta.url).pathname;
  // The second length takes minutes.
  const flags = ["--shape", "small", "-a", "dense", "-l", "64", "200000", "--repeats", "2"];
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "-q", cli, "bench", "--device", "cpu", ...flags, "--format", "json"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  let text = "";
  let isInterrupted = false;
  for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) {
    text += part;
    if (isInterrupted || !text.includes("}")) continue;
    isInterrupted = true;
    child.kill("SIGINT");
  }
  assertEquals((await child.status).code, 130);
  const rows = JSON.parse(text);
  assertEquals(rows.map(({ test, tokens }: Record<string, unknown>) => [test, tokens]), [
    ["prefill", 64],
  ]);
});
