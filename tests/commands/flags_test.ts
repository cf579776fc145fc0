import {
  choiceFlag,
  choicesFlag,
  decimalFlag,
  parseFlags,
  switchFlag,
  textFlag,
  wholeFlag,
  wholesFlag,
  wordsFlag,
} from "../../commands/shared/flags.ts";
import { UsageError } from "../../lib/errors.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";

const FLAGS = {
  model_path: textFlag({ short: "-p", help: "" }),
  name: textFlag({ short: "-n", required: true, demo: "tiny", help: "" }),
  attn_type: choiceFlag(["dense", "star"], { short: "-a", default: "star", help: "" }),
  block_size: wholeFlag({ short: "-bs", min: -1, default: -1, demo: 1024, help: "" }),
  anchor: wholeFlag({ short: "-as", min: -1, max: 99, default: -1, help: "" }),
  lengths: wholesFlag({ short: "-l", min: 1, kilo: true, default: [8], help: "" }),
  pair: wholesFlag({ count: 2, default: [3, 1], help: "" }),
  tasks: choicesFlag(["vt", "fwe"], { short: "-t", default: [], help: "" }),
  threshold: decimalFlag({ default: 0.95, help: "" }),
  stop_words: wordsFlag({ default: [], help: "" }),
  use_cache: switchFlag({ help: "" }),
  threads: wholeFlag({ default: 0, machine: true, help: "" }),
};

const parse = (...args: string[]) => parseFlags(FLAGS, args, { command: "test" });

Deno.test("parseFlags() takes short names of two letters, with and without '='", () => {
  const { name, block_size, anchor } = parse("-n", "x", "-bs", "2048", "-as=64");
  assertEquals([name, block_size, anchor], ["x", 2048, 64]);
});

Deno.test("parseFlags() takes several values behind one flag", () => {
  const { lengths, tasks, pair } = parse(
    ..."-n x -l 4096 8192 -t vt fwe --pair 3 3".split(" "),
  );
  assertEquals(lengths, [4096, 8192]);
  assertEquals(tasks, ["vt", "fwe"]);
  assertEquals(pair, [3, 3]);
});

Deno.test("parseFlags() takes negative numbers as values", () => {
  assertEquals(parse("-n", "x", "-bs", "-1", "--anchor=-1").block_size, -1);
});

Deno.test("parseFlags() takes names cut short, as argparse does", () => {
  const { name, block_size, threads, lengths } = parse(
    ..."--na x --block=64 --threa 2 --len 4k 8k".split(" "),
  );
  assertEquals({ name, block_size, threads, lengths }, {
    ...{ name: "x", block_size: 64, threads: 2, lengths: [4096, 8192] },
  });
  // A whole name is that flag, though another one begins with it.
  const table = { task: textFlag({ help: "" }), tasks: textFlag({ help: "" }) };
  const { task, tasks } = parseFlags(table, ["--task", "a", "--tasks=b"], { command: "test" });
  assertEquals([task, tasks], ["a", "b"]);
});

Deno.test("parseFlags() takes the last of a repeated flag, as argparse does", () => {
  const { name, block_size, lengths, use_cache } = parse(
    ..."-n x -l 1 2 -bs 1 -n y --block 3 -l 4 --use_cache --use_cache".split(" "),
  );
  assertEquals({ name, block_size, lengths, use_cache }, {
    ...{ name: "y", block_size: 3, lengths: [4], use_cache: true },
  });
  // What follows another flag belongs to the last one, not to the first of its name.
  assertEquals(parse(..."-n x -l 1 -n y -l 2 3".split(" ")).lengths, [2, 3]);
});

Deno.test("parseFlags() splits stop words at commas and leaves out empty ones", () => {
  assertEquals(parse("-n", "x", "--stop_words", "<|eot_id|>,,a b").stop_words, [
    "<|eot_id|>",
    "a b",
  ]);
  assertEquals(parse("-n", "x", "--stop_words", "").stop_words, []);
  assertEquals(parse("-n", "x", "--stop_words=-a,--").stop_words, ["-a", "--"]);
});

Deno.test("parseFlags() gives absent flags their defaults", () => {
  const { model_path, attn_type, lengths, use_cache, threshold } = parse("-n", "x");
  assertEquals(
    { model_path, attn_type, lengths, use_cache, threshold },
    { model_path: undefined, attn_type: "star", lengths: [8], use_cache: false, threshold: 0.95 },
  );
});

Deno.test("parseFlags() takes demonstration values only for the bare command", () => {
  const options = { command: "test", demoUnless: "model_path" };
  for (const args of [[], ["--threads", "2"]]) {
    const { name, block_size, attn_type } = parseFlags(FLAGS, args, options);
    assertEquals([name, block_size, attn_type], ["tiny", 1024, "star"]);
  }
  const real = parseFlags(FLAGS, ["-p", "m", "-n", "x"], options);
  assertEquals([real.name, real.block_size], ["x", -1]);
  const cases = [
    [["-p", "m"], "--name is required"],
    [["-n", "x"], "--model_path is required"],
    [["-as", "7"], "--model_path and --name are required"],
    [["-as", "7", "--threads", "2"], "--model_path and --name are required"],
  ] as const;
  for (const [args, message] of cases) {
    assertThrows(() => parseFlags(FLAGS, args, options), UsageError, message);
  }
});

Deno.test("parseFlags() takes lengths behind commas and in units of 1,024 tokens", () => {
  assertEquals(parse(..."-n x -l 4k,32K".split(" ")).lengths, [4096, 32768]);
  assertEquals(parse(..."-n x -l 4096,8192 16k".split(" ")).lengths, [4096, 8192, 16384]);
});

Deno.test("parseFlags() knows no flags but its own, whatever every object has", () => {
  for (const name of ["constructor", "toString", "__proto__", "hasOwnProperty"]) {
    for (const form of [`--${name}`, `--${name}=1`]) {
      assertThrows(() => parse(form), UsageError, "is not a flag of 'test' (see --help)");
    }
  }
});

const REFUSED: readonly (readonly [args: string, message: string])[] = [
  ["", "--name is required"],
  ["--foo", "--foo: is not a flag of 'test' (see --help)"],
  ["--foo=1", "--foo: is not a flag of 'test' (see --help)"],
  ["-q 1", "-q: is not a flag of 'test' (see --help)"],
  ["--t 1", "--t: must be longer, as it may be one of --tasks, --threshold, --threads"],
  ["--thre=1", "--thre: must be longer, as it may be one of --threshold, --threads"],
  ["--lengthy 1", "--lengthy: is not a flag of 'test'"],
  ["--na", "--name: needs a value"],
  ["--block x", "--block_size: must be a whole number from -1 to 2147483647: current value is 'x'"],
  ["-n x --use=1", "--use_cache: takes no value"],
  ["-n x -n=", "--name: must not be empty: current value is ''"],
  ["-n", "--name: needs a value"],
  ["-n -bs 1", "--name: needs a value"],
  ["-n=", "--name: must not be empty: current value is ''"],
  ["-n x y", "'y': belongs to no flag of 'test' (see --help)"],
  ["-n x -- y", "'--': belongs to no flag of 'test' (see --help)"],
  ["--use_cache=1", "--use_cache: takes no value"],
  ["-a ring", "--attn_type: must be one of dense, star: current value is 'ring'"],
  ["-t vt cwe", "--tasks: must be one of vt, fwe: current value is 'cwe'"],
  ["-t vt vt", "--tasks: must not name a value twice: current value is 'vt'"],
  ["-bs 1e3", "--block_size: must be a whole number from -1 to 2147483647: current value is '1e3'"],
  ["-bs 0x10", "must be a whole number from -1 to 2147483647: current value is '0x10'"],
  ["-bs 2147483648", "must be a whole number from -1 to 2147483647"],
  ["-bs 99999999999999999999", "must be a whole number from -1 to 2147483647"],
  ["-as 100", "--anchor: must be a whole number from -1 to 99: current value is '100'"],
  ["-l 4096 0", "--lengths: must be a whole number from 1 to 2147483647: current value is '0'"],
  ["-l 4kk", "--lengths: must be a whole number from 1 to 2147483647: current value is '4kk'"],
  ["-l 4096,,8192", "--lengths: must be a whole number from 1 to 2147483647: current value is ''"],
  ["-l 4k,4096", "--lengths: must not name a value twice: current value is '4096'"],
  ["--threads 1k", "--threads: must be a whole number from 0 to 2147483647: current value is '1k'"],
  ["--pair 3", "--pair: must be 2 whole numbers: current value is '3'"],
  ["--threshold 0,9", "--threshold: must be a number: current value is '0,9'"],
  ["--threshold NaN", "--threshold: must be a number: current value is 'NaN'"],
];

for (const [args, message] of REFUSED) {
  Deno.test(`parseFlags() refuses '${args}'`, () => {
    assertThrows(() => parse(...args.split(" ").filter((arg) => arg !== "")), UsageError, message);
  });
}
