/**
 * Damaged files end in an error that callers can tell apart, or in a normal run: within 10 s of
 * computing, and never in a crash. The inputs are read by child processes, so that a signal is seen as one.
 *
 * `STARX_FUZZ_SEED` repeats a run or tries another one.
 *
 * @module
 */
import type { UserLine } from "./helpers/fake_user.ts";
import { assert, assertEquals } from "./helpers/assert.ts";
import { type Kind, KINDS } from "../scripts/torture/mutations.ts";

const SEED = Deno.env.get("STARX_FUZZ_SEED") ?? "20260714";
const COUNTS: Readonly<Record<Kind, number>> = {
  safetensors: 260,
  config: 160,
  tokenizer: 120,
  jsonl: 120,
};
/** Of the processor's time, which other programs do not change. */
const LIMIT_MS = 10_000;
/** Nothing computes and nothing comes: a machine may be busy for long. */
const WATCH_MS = 12 * LIMIT_MS;

interface ChildRun {
  readonly lines: readonly UserLine[];
  /** How the process ended; empty if it ended well. */
  readonly fault: string;
}

/** Lets a child read all inputs of a kind. */
async function readAll(kind: Kind): Promise<ChildRun> {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"],
      ...["--allow-ffi", new URL("helpers/fake_user.ts", import.meta.url).pathname],
      ...[SEED, kind, String(COUNTS[kind])],
    ],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const errors = new Response(child.stderr).text();
  const lines: UserLine[] = [];
  let hung = "";
  const watch = () =>
    setTimeout(() => {
      hung = `nothing came for ${WATCH_MS} ms; `;
      child.kill("SIGKILL");
    }, WATCH_MS);
  let timer = watch();
  let rest = "";
  for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
    clearTimeout(timer);
    timer = watch();
    const parts = (rest + text).split("\n");
    rest = parts.pop() ?? "";
    lines.push(...parts.map((line): UserLine => JSON.parse(line)));
  }
  clearTimeout(timer);
  const { code, signal } = await child.status;
  const said = await errors;
  const isWell = code === 0 && said === "";
  return { lines, fault: isWell ? "" : `${hung}exit ${code}, signal ${signal}, stderr: ${said}` };
}

/** Whether a header, a length or an offset was hit, of every input. */
const structural: boolean[] = [];

for (const kind of KINDS) {
  Deno.test(`${COUNTS[kind]} damaged inputs of kind ${kind} are refused or run, seed ${SEED}`, async () => {
    const { lines, fault } = await readAll(kind);
    const last = JSON.stringify(lines.at(-1));
    assertEquals(fault, "", `seed ${SEED}: the child failed, the last line being ${last}`);
    const ended = lines.filter(({ outcome }) => outcome !== undefined);
    const damaged = ended.filter(({ what }) => what !== "nothing");
    assertEquals(damaged.length, COUNTS[kind]);
    const bad = ended.filter(({ outcome, ms = 0 }) => outcome === "crashed" || ms > LIMIT_MS);
    assertEquals(bad, [], `seed ${SEED}`);
    const blank = ended.filter(({ outcome, message = "" }) =>
      outcome === "refused" && !/^(Cannot |Field |JSON )\S/.test(message)
    );
    assertEquals(blank, [], `seed ${SEED}: a refusal says what cannot be done`);
    // A test whose inputs are all refused, or all taken, tests little.
    for (const outcome of ["done", "refused"] as const) {
      assert(damaged.some((line) => line.outcome === outcome), `some must be ${outcome}`);
    }
    if (kind !== "jsonl") assertEquals(ended.at(-1)?.outcome, "done", "the whole model must run");
    structural.push(...damaged.map(({ isStructural }) => isStructural));
  });
}

Deno.test("damaged inputs are at least 500, half of them with a header, length or offset hit", () => {
  assert(structural.length >= 500, `${structural.length} inputs were read`);
  const count = structural.filter(Boolean).length;
  assert(2 * count >= structural.length, `${count} of ${structural.length} are structural`);
});
