/**
 * The program as a child process: its exit codes, its streams.
 *
 * @module
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "./helpers/assert.ts";
import { inFolder } from "./helpers/folder.ts";
import { denoFolder } from "./helpers/script.ts";
import { MODEL } from "./helpers/prompts.ts";
import { childrenOf, isRunning, waitUntilEnded } from "./helpers/processes.ts";
import { ROOT } from "./helpers/sources.ts";

const CLI = new URL("cli.ts", ROOT).pathname;
const PERMISSIONS = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-env",
  "--allow-sys",
  "--allow-ffi",
  `--allow-run=${Deno.execPath()}`,
];

/** How a child process is started. */
interface Surroundings {
  readonly cwd?: string;
  readonly env?: Record<string, string>;
}

function command(args: readonly string[], options: Surroundings = {}): Deno.Command {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-code-cache", ...PERMISSIONS, CLI, ...args],
    stdout: "piped",
    stderr: "piped",
    ...options,
    env: { NO_COLOR: "1", ...options.env },
  });
}

async function starx(
  args: readonly string[],
  options: Surroundings = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const { code, stdout, stderr } = await command(args, options).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const SAMPLE = `${
  JSON.stringify({ index: 3, input_context: "The sky is blue.", input_query: "?", output: "" })
}\n`;
const INFER = ["infer", "--model_path", MODEL, "--attn_type", "starx", "-bs", "128"];

Deno.test("cli.ts lists its commands and exit codes", async () => {
  const { code, stdout, stderr } = await starx(["--help"]);
  assertEquals([code, stderr], [0, ""]);
  for (const name of ["ruler", "infer", "evaluate", "gather", "doctor", "130  interrupted"]) {
    assertStringIncludes(stdout, `  ${name}`);
  }
});

Deno.test("cli.ts ruler --help lists flags with their defaults", async () => {
  const { code, stdout } = await starx(["ruler", "--help"]);
  assertEquals(code, 0);
  assertMatch(stdout, /-bs, --block_size N .*default: -1;\s+bare command: 1024/);
  assertStringIncludes(stdout, "loses most of the accuracy");
  assert(stdout.split("\n").every((line) => line.length <= 100));
});

/** What `ruler` needs at least. */
const RULER = [
  "ruler",
  "-n",
  "x",
  "-p",
  MODEL,
  "-pc",
  "llama3",
  "-l",
  "4k",
  "-a",
  "starx",
  "-np",
  "1",
];

/** What `sweep` needs beside its settings. */
const SWEEP = ["sweep", "-o", "/nowhere/x", "-p", MODEL, "-pc", "llama3", "-l", "4k"];

const ONE_LINE: readonly (readonly [args: readonly string[], code: number, stderr: RegExp])[] = [
  [["foo"], 2, /^error: 'foo': is not a command: must be one of ruler, /],
  [["ruler", "--foo"], 2, /^error: --foo: is not a flag of 'ruler'/],
  [[...RULER, "-bs", "0"], 2, /'--block_size' must be a whole number above 0: current value is 0/],
  [[...RULER, "-a", "star"], 2, /'--block_size' is missing: it must be a whole number above 0/],
  [[...RULER, "-bs", "100"], 2, /'--block_size' must be a multiple of 128 in starx/],
  [[...RULER, "-bs", "1k", "-as", "2k"], 2, /'--anchor_block_size' must be at most '--block_size'/],
  [
    [...RULER, "-bs", "1k", "--stride", "12"],
    2,
    /'--stride' must be a divisor of 128: current value is 12/,
  ],
  [[...RULER, "-bs", "1k", "--threshold", "0"], 2, /'--threshold' must be above 0 and at most 1/],
  [[...RULER, "-bs", "1k", "--threshold", "1e-300"], 2, /'--threshold' must be above 0 and at/],
  [["ruler", "--threads", "1024"], 2, /--threads: must be a whole number from 0 to 256/],
  [["ruler", "-nn", "2"], 2, /--num_nodes: must be at most the nodes .* start it by: srun /],
  [
    [...RULER, "-bs", "1k", "-t", "niah"],
    2,
    /--tasks: must be one of niah_single_1, .*, qa_2: current value/,
  ],
  [["ruler", "--timeout", "0"], 2, /--timeout: must be from 0\.1 to 2000000 seconds/],
  [["ruler", "-a", "dense"], 2, /--model_name, --model_path, .* and --seq_lengths are required/],
  [["ruler", "-p", MODEL], 2, /--model_name, --prompt_config and --seq_lengths are required/],
  [["ruler", "--constructor"], 2, /--constructor: is not a flag of 'ruler'/],
  [["toString"], 2, /'toString': is not a command/],
  [SWEEP, 2, /--attn_type or --settings is required/],
  [[...SWEEP, "-a", "star"], 2, /'--block_size' is missing: it must be a whole number above 0/],
  [[...SWEEP, "-a", "xattn", "--density", "0.2"], 2, /--curves is required with --density/],
  [[...SWEEP, "-a", "dense", "--shard", "3/2"], 2, /--shard: must be a part such as 1\/4: /],
  [[...SWEEP, "-a", "xattn", "--threshold", "no.json"], 3, /Cannot read no.json: it does not/],
  [["evaluate", "--data_dir", "/nowhere"], 3, /Cannot read \/nowhere: it does not exist/],
  [["gather", "-e", "none"], 3, /must be a folder: results\/none/],
];

for (const [args, expected, message] of ONE_LINE) {
  Deno.test(`cli.ts ends with ${expected} and one line on '${args.join(" ")}'`, async () => {
    const { code, stdout, stderr } = await starx(args);
    assertEquals([code, stdout], [expected, ""]);
    assertMatch(stderr, message);
    assertEquals(stderr.trim().split("\n").length, 1);
  });
}

Deno.test("cli.ts ends with its code where standard error cannot be written", async () => {
  const shell = async (line: string) =>
    await new Deno.Command("sh", { args: ["-c", line], env: { NO_COLOR: "1" } }).output();
  const program = `'${Deno.execPath()}' run ${PERMISSIONS.join(" ")} '${CLI}'`;
  assertEquals((await shell(`${program} foo 2>/dev/full`)).code, 2);
  const { code, stderr } = await shell(`STARX_KERNELS=$(printf '/x\\377') ${program} doctor`);
  assertEquals(code, 2);
  assertMatch(
    new TextDecoder().decode(stderr),
    /^error: environment variable was not valid unicode/,
  );
});

Deno.test({
  name: "cli.ts ends with 4 and one line where too few files may be open",
  ignore: Deno.build.os !== "linux",
  fn: () =>
    inFolder({ "in.jsonl": SAMPLE }, async (folder) => {
      const paths = ["--input_path", "in.jsonl", "--output_path", "out.jsonl"];
      const ranks = ["-a", "star", "-np", "9", "--device", "cpu"];
      const args = [...INFER, "--tokens_to_generate", "1", ...paths, ...ranks];
      const run = async (limit: number) => {
        const { code, stderr } = await new Deno.Command("bash", {
          args: [
            ...["-c", `ulimit -n ${limit}; exec "$@"`, "bash", Deno.execPath(), "run"],
            ...[...PERMISSIONS, CLI, ...args],
          ],
          cwd: folder,
          env: { NO_COLOR: "1" },
        }).output();
        return { code, stderr: new TextDecoder().decode(stderr) };
      };
      const early = await run(30);
      assertEquals([early.code, early.stderr.trim().split("\n").length], [4, 1], early.stderr);
      assertMatch(
        early.stderr,
        /^error: Cannot run as a process .* open files: .* is 30 \('ulimit/,
      );
      const late = await run(48);
      assertEquals([late.code, late.stderr.trim().split("\n").length], [4, 1], late.stderr);
      assertMatch(late.stderr, /^error: Cannot start rank \d: .*Too many open files/);
    }),
});

Deno.test("cli.ts runs without HOME, and says which flag names data that it cannot find", async () => {
  await inFolder({ "in.jsonl": SAMPLE }, async (folder) => {
    const run = async (...args: readonly string[]) => {
      const variables = { DENO_DIR: denoFolder(), NO_COLOR: "1" };
      const options = { cwd: folder, clearEnv: true, env: variables };
      const { code, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--no-code-cache", ...PERMISSIONS, CLI, ...args],
        ...options,
      }).output();
      return { code, stderr: new TextDecoder().decode(stderr) };
    };
    const paths = ["--input_path", "in.jsonl", "--output_path", "out.jsonl"];
    const inferred = await run(...INFER, "--tokens_to_generate", "1", ...paths);
    assertEquals(inferred.code, 0, inferred.stderr);
    const prepared = await run(
      ...["prepare", "--task", "qa_1", "--save_dir", "made", "--tokenizer_path", MODEL],
      ...["--max_seq_length", "4096", "--num_samples", "1"],
    );
    assertEquals([prepared.code, prepared.stderr.trim().split("\n").length], [2, 1]);
    assertMatch(prepared.stderr, /^error: .*--source_dir/);
  });
});

Deno.test("cli.ts names the file and line of input that is not JSON", async () => {
  await inFolder({ "in.jsonl": `${SAMPLE}{"input\n` }, async (folder) => {
    const paths = ["--input_path", "in.jsonl", "--output_path", "out.jsonl"];
    const { code, stderr } = await starx([...INFER, "--tokens_to_generate", "4", ...paths], {
      cwd: folder,
    });
    assertEquals(code, 3);
    assertMatch(stderr, /^error: Cannot read in\.jsonl: line 2 is not JSON \(.*\)\n$/);
  });
});

Deno.test("cli.ts says of a driver without a GPU when computing begins, and not before", async () => {
  const files = { "in.jsonl": SAMPLE, "bad.jsonl": "{" };
  // A runtime that cannot be loaded is found first, also on a machine that has a GPU.
  const driver = { "cuda/libcuda.so.1": "no library", "cuda/libcudart.so.13": "no library" };
  await inFolder({ ...files, ...driver }, async (cwd) => {
    const surroundings = { cwd, env: { STARX_CUDA: `${cwd}/cuda` } };
    const infer = (...flags: string[]) =>
      starx([...INFER, "--tokens_to_generate", "2", ...flags], surroundings);
    const mistakes: readonly (readonly [Awaited<ReturnType<typeof starx>>, RegExp])[] = [
      [
        await infer("--input_path", "bad.jsonl", "--output_path", "out.jsonl"),
        /bad.jsonl: line 1 is/,
      ],
      [await starx([...RULER, "-bs", "1k", "-t", "niah"], surroundings), /--tasks: must be one/],
      [await starx([...SWEEP, "-a", "star"], surroundings), /'--block_size' is missing/],
    ];
    for (const [{ stdout, stderr }, message] of mistakes) {
      assertEquals([stdout, stderr.trim().split("\n").length], ["", 1], stderr);
      assertMatch(stderr, message);
    }
    const { code, stdout, stderr } = await infer(
      "--input_path",
      "in.jsonl",
      "--output_path",
      "out.jsonl",
    );
    assertEquals([code, stdout], [0, ""], stderr);
    assertMatch(stderr, /^Device: the CPU, as the GPU is not usable: .*\nModel: /);
    assertEquals(stderr.match(/^Device: /gm)?.length, 1, stderr);
  });
});

Deno.test("cli.ts infer keeps its results and continues them", async () => {
  await inFolder({ "in.jsonl": SAMPLE }, async (folder) => {
    const args = [...INFER, "--input_path", "in.jsonl", "--output_path", "out.jsonl"];
    const first = await starx([...args, "--tokens_to_generate", "4", "--top_logits", "2"], {
      cwd: folder,
    });
    assertEquals([first.code, first.stdout], [0, ""], first.stderr);
    const text = await Deno.readTextFile(`${folder}/out.jsonl`);
    const record = JSON.parse(text);
    assertEquals([record.index, record.generated_ids.length, record.top_logits.length], [3, 4, 2]);
    const other = await starx([...args, "--tokens_to_generate", "5", "--top_logits", "2"], {
      cwd: folder,
    });
    assertEquals(other.code, 2);
    assertMatch(
      other.stderr,
      /^error: --tokens_to_generate: cannot continue .* with 4: current value is 5 \(/,
    );
    assertEquals(await Deno.readTextFile(`${folder}/out.jsonl`), text);
  });
});

Deno.test("cli.ts doctor shows what was found", async () => {
  const { code, stdout } = await starx(["doctor"]);
  assertEquals(code, 0, stdout);
  for (const name of ["Machine", "Memory", "Library", "Model", "RULER"]) {
    assertMatch(stdout, new RegExp(`^(ok|!!)  ${name} `, "m"));
  }
  const missing = await starx(["doctor", "-p", "/nowhere"]);
  assertEquals(missing.code, 3);
  assertStringIncludes(missing.stdout, "!!  Model     Cannot read /nowhere");
});

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.test(`cli.ts ends with 130 on ${signal} and leaves no process`, async () => {
    const line = SAMPLE.replace("The sky is blue.", "The sky is blue. ".repeat(1500));
    await inFolder({ "in.jsonl": line.repeat(40) }, async (folder) => {
      const paths = ["--input_path", "in.jsonl", "--output_path", "out.jsonl"];
      const child = command([...INFER, "-np", "2", "--tokens_to_generate", "64", ...paths], {
        cwd: folder,
      }).spawn();
      const output = child.output();
      let isOver = false;
      child.status.then(() => isOver = true);
      const hasRecord = () =>
        Deno.stat(`${folder}/out.jsonl`).then(({ size }) => size > 0, () => false);
      // The first record shows that workers run.
      while (!isOver && !await hasRecord()) await new Promise((resolve) => setTimeout(resolve, 50));
      if (isOver) assert(false, new TextDecoder().decode((await output).stderr));
      const workers = childrenOf(child.pid).map(({ pid }) => pid);
      assertEquals(workers.length, 2);
      child.kill(signal);
      const { code, stderr } = await output;
      assertEquals(code, 130, new TextDecoder().decode(stderr));
      await waitUntilEnded(workers, { timeoutMs: 60_000 });
      assertEquals(workers.filter(isRunning), []);
      assert(!new TextDecoder().decode(stderr).includes("error:"));
    });
  });
}
