/**
 * Runs the GPU tests under NVIDIA's compute-sanitizer: `deno task test:sanitize`.
 *
 * Memcheck watches all kernels for accesses outside of their memory; racecheck those that share memory
 * within a block of threads, for accesses that no barrier orders; synccheck the same ones for barriers
 * that not all of their threads reach. Attention is watched in both builds. Every access is
 * instrumented, so that kernels take many times as long; the tests' cases are small.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { openCudaDevice } from "../lib/device/cuda.ts";
import { DeviceError, errorText, EXIT_CODES, FileError } from "../lib/errors.ts";

const HELP = `Runs the GPU tests under NVIDIA's compute-sanitizer.

Usage: deno task test:sanitize [flags]

  --tool NAME   memcheck, racecheck or synccheck (default: one after the other)
  --ops A,B     only the tests of these ops, by their functions' names (default: all that are watched)

compute-sanitizer is a part of the CUDA toolkit. It is taken from COMPUTE_SANITIZER (its path), or
found in CUDA_HOME, CUDA_PATH, PATH or /usr/local/cuda.
`;

/** The ops whose kernels share memory within a block of threads. */
const SHARING_OPS = [
  "antidiagonalScore",
  "attentionBlockSparse",
  "attentionDecode",
  "attentionDecodeTiles",
  "attentionDense",
  "attentionRest",
  "decodeSelect",
  "headNorm",
  "keyMean",
  "matmul",
  "matmulRows",
  "quantizeRows",
  "rankScore",
  "rmsNorm",
  "argmax",
  "topK",
  "tileMass",
  "tileMeans",
];
const SHARING = { flags: [], paths: ["tests/kernels"], filter: testsOf(SHARING_OPS) };

/** A filter for the tests of some ops. */
function testsOf(ops: readonly string[]): string {
  return `/^(${ops.join("|")})\\(\\).* on a GPU/`;
}

/** What each tool watches. */
const TOOLS = {
  memcheck: {
    // Without those that start other processes.
    // The tests themselves look at what the runtime's functions return.
    flags: ["--report-api-errors", "no"],
    paths: ["tests/kernels", "tests/gpu/kernels_test.ts", "tests/gpu/reference_test.ts"],
    filter: "on a GPU",
  },
  racecheck: SHARING,
  synccheck: SHARING,
} as const;

type Tool = keyof typeof TOOLS;

/** The sanitizer's exit status if it found something; a failed test has 1. */
const FOUND = 86;
const PERMISSIONS = ["--no-prompt", "--allow-read", "--allow-env", "--allow-ffi"];

if (import.meta.main) Deno.exit(await main(Deno.args));

async function main(args: string[]): Promise<number> {
  try {
    const { values } = parseArgs({
      args,
      options: {
        tool: { type: "string" },
        ops: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.help === true) {
      await write(Deno.stdout, HELP);
      return EXIT_CODES.done;
    }
    const tools = Object.keys(TOOLS).filter((name): name is Tool =>
      values.tool === undefined || values.tool === name
    );
    if (tools.length === 0) {
      throw new TypeError(
        "Cannot sanitize as '--tool' must be memcheck, racecheck or synccheck: " +
          `current value is ${values.tool}`,
      );
    }
    const ops = values.ops?.split(",");
    if (ops?.every((op) => /^[a-zA-Z]+$/.test(op)) === false) {
      throw new TypeError(
        `Cannot sanitize as '--ops' must be names of functions: current value is ${values.ops}`,
      );
    }
    const sanitizer = await findSanitizer();
    (await openCudaDevice())[Symbol.dispose]();
    let code: number = EXIT_CODES.done;
    for (const tool of tools) code = await sanitize(sanitizer, tool, { ops }) || code;
    return code;
  } catch (error) {
    await write(Deno.stderr, `sanitize: ${errorText(error)}\n`);
    if (error instanceof TypeError) return EXIT_CODES.usage;
    if (error instanceof FileError) return EXIT_CODES.file;
    return error instanceof DeviceError ? EXIT_CODES.device : EXIT_CODES.bug;
  }
}

/**
 * The path of compute-sanitizer.
 *
 * @throws {FileError} If there is none, with every place that was tried.
 */
async function findSanitizer(): Promise<string> {
  const forced = Deno.env.get("COMPUTE_SANITIZER");
  const homes = [Deno.env.get("CUDA_HOME"), Deno.env.get("CUDA_PATH"), "/usr/local/cuda"]
    .filter((home) => home !== undefined && home !== "");
  const folders = [
    ...homes.flatMap((home) => [`${home}/bin`, `${home}/compute-sanitizer`]),
    ...(Deno.env.get("PATH") ?? "").split(":").filter((folder) => folder !== ""),
  ];
  const tried = forced === undefined || forced === ""
    ? folders.map((folder) => `${folder}/compute-sanitizer`)
    : [forced];
  for (const path of tried) {
    try {
      if ((await Deno.stat(path)).isFile) return path;
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.NotADirectory)) {
        throw error;
      }
    }
  }
  throw new FileError(
    "Cannot sanitize as compute-sanitizer is missing; it comes with the CUDA toolkit, and " +
      `COMPUTE_SANITIZER can name its path: tried ${tried.join(", ")}`,
  );
}

/** Runs the tests under one tool, and says what became of it. @returns The exit code. */
async function sanitize(
  sanitizer: string,
  tool: Tool,
  { ops }: { ops: readonly string[] | undefined },
): Promise<number> {
  const { flags, paths, filter: all } = TOOLS[tool];
  const filter = ops === undefined ? all : testsOf(ops);
  const startMs = performance.now();
  const { code } = await new Deno.Command(sanitizer, {
    args: [
      ...["--tool", tool, ...flags, "--error-exitcode", `${FOUND}`],
      ...[Deno.execPath(), "test", ...PERMISSIONS, "--filter", filter, ...paths],
    ],
    cwd: new URL("..", import.meta.url).pathname,
    stdin: "null",
  }).spawn().status;
  const seconds = ((performance.now() - startMs) / 1000).toFixed(0);
  const result = code === 0
    ? "nothing found"
    : code === FOUND
    ? "errors found, see above"
    : `the tests ended with ${code}`;
  await write(Deno.stderr, `${tool}: ${result}, ${seconds} s\n`);
  return code === 0 ? EXIT_CODES.done : EXIT_CODES.bug;
}

async function write(
  stream: { write: (bytes: Uint8Array) => Promise<number> },
  text: string,
): Promise<void> {
  await stream.write(new TextEncoder().encode(text));
}
