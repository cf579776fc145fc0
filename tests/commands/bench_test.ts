/**
 * What the bench promises to other programs: its ids, and its last line.
 *
 * @module
 */
import { runBench } from "../../commands/bench/bench.ts";
import type { BenchOptions } from "../../commands/bench/options.ts";
import { benchIds } from "../../commands/bench/rank.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { MODEL } from "../helpers/prompts.ts";

const OPTIONS: BenchOptions = {
  model: { kind: "folder", folder: MODEL },
  device: "cpu",
  dtype: "bf16",
  threads: 1,
  processCount: 1,
  modes: ["dense"],
  lengths: [5, 9],
  decodeContexts: [5],
  decodeTokens: 3,
  batchSize: 1,
  blockTokens: 4096,
  anchorTokens: 4096,
  stride: 16,
  threshold: 0.9,
  density: undefined,
  repeats: 2,
  kernels: false,
  json: true,
  jsonPath: undefined,
};

/** The generator in exact arithmetic, as its users may write it. */
function exactIds(count: number, vocabularySize: number): number[] {
  let x = 12345n;
  return Array.from({ length: count }, () => {
    x = (1664525n * x + 1013904223n) % 2n ** 32n;
    return Number((x >> 8n) % BigInt(vocabularySize));
  });
}

Deno.test("benchIds() gives the generator's ids without a rounded product or sign", () => {
  // 12345 * 1664525 + 1013904223 is 87628868 above a multiple of 2^32, and 87628868 >>> 8 is 342300.
  assertEquals([...benchIds(1, 1_000_000)], [342_300]);
  for (const vocabularySize of [1000, 49_152, 128_256]) {
    assertEquals([...benchIds(3000, vocabularySize)], exactIds(3000, vocabularySize));
  }
});

Deno.test("runBench() ends its JSON with the line of times", async () => {
  let text = "";
  const print = (part: string): void => {
    text += part;
  };
  await runBench(OPTIONS, { print, note: () => {} });
  const lines = text.trimEnd().split("\n");
  assertEquals(lines.length, 2);
  const last = lines.at(-1) ?? "";
  const number = String.raw`\d+(?:\.\d+)?(?:e-\d+)?`;
  const prefill = (n: number) => String.raw`\{"n":${n},"s_min":${number},"s_med":${number}\}`;
  const decode = String.raw`\{"ctx":5,"s_med":${number}\}`;
  const form = String.raw`^\{"prefill":\[${prefill(5)},${
    prefill(9)
  }\],"decode":\[${decode}\],"rss_mib":${number}\}$`;
  assert(new RegExp(form).test(last), `the last line must match ${form}: found ${last}`);
  const times = JSON.parse(last) as {
    prefill: { s_min: number; s_med: number }[];
    decode: { s_med: number }[];
    rss_mib: number;
  };
  for (const { s_min, s_med } of times.prefill) assert(s_min > 0 && s_min <= s_med, last);
  assert(times.decode.every(({ s_med }) => s_med > 0) && times.rss_mib > 1, last);
});

Deno.test("runBench() times several sequences together", async () => {
  let text = "";
  const print = (part: string) => void (text += part);
  await runBench({ ...OPTIONS, batchSize: 3 }, { print, note: () => {} });
  const [details = "", times = ""] = text.trimEnd().split("\n");
  const [decode] = JSON.parse(details).decode;
  assertEquals([decode.ctx, decode.batch], [5, 3]);
  const { s_med: step, s_sample: sample } = JSON.parse(times).decode[0];
  assert(step > 0 && sample > 0, times);
  assert(Math.abs(decode.tokens_per_s * step - 3) < 0.1, text);
});

Deno.test("bench counts no buffers of its own as the model's memory", async () => {
  // A peak begins with that of the process which starts another one: a shell's is small.
  const { stdout } = await new Deno.Command("sh", {
    args: [
      ...["-c", '"$@"; exit $?', "sh", Deno.execPath()],
      ...["run", "-A", new URL("../../cli.ts", import.meta.url).pathname, "bench", "--json"],
      ...["--model_path", MODEL, "--device", "cpu", "--threads", "1", "--repeats", "1"],
      ...["-l", "5", "--decode", "5", "--decode_tokens", "2"],
    ],
    stderr: "null",
  }).output();
  const last = new TextDecoder().decode(stdout).trimEnd().split("\n").at(-1) ?? "";
  const { rss_mib: rssMib } = JSON.parse(last) as { rss_mib: number };
  // The copy that tells the memory's rate takes 512 MiB; Deno and the tiny model less than 150.
  assert(rssMib < 400, `less than 400 MiB must be resident: found ${rssMib}`);
});
