/**
 * The program on ranks that know each other by torchrun's variables and a key alone: results, and
 * what follows when a rank is killed, hangs, or is cut off. No launcher ends anybody here.
 *
 * @module
 */
import { assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { inferArgs, runAlone, writeInput } from "../helpers/nodes.ts";
import { waitUntilComputing } from "../helpers/processes.ts";
import {
  hasNamespaces,
  type RankEnd,
  type RankPlaces,
  TcpRanks,
  TwoNodes,
} from "../helpers/tcp_ranks.ts";

/** Far longer than a busy machine keeps a rank from running. */
const HANG_MS = 8_000;
/** Ranks that have had a core for so long since the model was loaded are in the midst of a sample. */
const BEGUN_MS = 300;
const canHaveNodes = await hasNamespaces();

interface Files {
  readonly input: string;
  readonly output: string;
}

async function withFiles(
  options: { samples: number },
  run: (files: Files, folder: string) => Promise<void>,
): Promise<void> {
  await inFolder({}, async (folder) => {
    const files = { input: `${folder}/in.jsonl`, output: `${folder}/out.jsonl` };
    await writeInput(files.input, options);
    await run(files, folder);
  });
}

/** Ranks in the midst of a sample that takes long. */
async function startLong(files: Files, places: RankPlaces): Promise<TcpRanks> {
  const extra = ["--timeout", String(HANG_MS / 1000)];
  const ranks = new TcpRanks(inferArgs(files, { mode: "star", tokens: 3000, extra }), places);
  await ranks.seen("Model:");
  await waitUntilComputing(ranks.pids(), { coreMs: BEGUN_MS });
  return ranks;
}

function lossLines(ends: readonly RankEnd[]): string[] {
  return ends.flatMap(({ stderr }) => stderr.split("\n"))
    .filter((line) => line.includes("Lost rank"));
}

for (const mode of ["star", "starx", "ring", "dense"]) {
  Deno.test(`infer over TCP gives the bytes of -np 2 in ${mode}`, () =>
    withFiles({ samples: 2 }, async (files, folder) => {
      const alone = { input: files.input, output: `${folder}/np/out.jsonl` };
      const first = await runAlone(inferArgs(alone, { mode, extra: ["-np", "2"] }));
      assertEquals(first.code, 0, first.stderr);
      await using ranks = new TcpRanks(inferArgs(files, { mode }), { size: 2 });
      const ends = await ranks.allEnded();
      const texts = ends.map(({ stderr }) => stderr).join("\n");
      assertEquals(ends.map(({ code }) => code), [0, 0], texts);
      assertEquals(
        await Deno.readTextFile(files.output),
        await Deno.readTextFile(alone.output),
      );
      if (mode !== "dense") assertMatch(texts, /2 processes, TCP \(MPI is faster\)/);
    }));
}

Deno.test("infer over TCP meets rank 0 at an address of IPv6", () =>
  withFiles({ samples: 1 }, async (files) => {
    await using ranks = new TcpRanks(inferArgs(files, { mode: "star" }), {
      size: 3,
      address: "::1",
    });
    const ends = await ranks.allEnded();
    assertEquals(ends.map(({ code }) => code), [0, 0, 0], ends[0]?.stderr);
  }));

for (const rank of [0, 2]) {
  Deno.test(`infer over TCP ends on all ranks if rank ${rank} is killed, in one line`, () =>
    withFiles({ samples: 1 }, async (files) => {
      await using ranks = await startLong(files, { size: 3 });
      ranks.signal(rank, "SIGKILL");
      const ends = await ranks.allEnded();
      const others = ends.filter((_, other) => other !== rank);
      assertEquals(others.map(({ code }) => code), [5, 5], others.map((e) => e.stderr).join("\n"));
      const lines = lossLines(ends);
      assertEquals(lines.length, 1, lines.join("\n"));
      const found = `rank ${rank} \\(node \\S+, local ${rank}\\): Lost rank ${rank} in phase \\d`;
      assertMatch(
        lines[0] ?? "",
        new RegExp(`${found}( of sample \\d)?: its connection has ended`),
      );
    }));

  Deno.test(`infer over TCP ends on the other ranks if rank ${rank} hangs, in one line`, () =>
    withFiles({ samples: 1 }, async (files) => {
      await using ranks = await startLong(files, { size: 3 });
      ranks.signal(rank, "SIGSTOP");
      const others = await Promise.all(
        [0, 1, 2].filter((r) => r !== rank).map((r) => ranks.ended(r)),
      );
      assertEquals(others.map(({ code }) => code), [5, 5], others.map((e) => e.stderr).join("\n"));
      const lines = lossLines(others);
      assertEquals(lines.length, 1, lines.join("\n"));
      assertMatch(
        lines[0] ?? "",
        new RegExp(`Lost rank ${rank} in phase \\d.*: (it made no|nothing)`),
      );
      // It finds the others gone, and has nothing to say about that.
      ranks.signal(rank, "SIGCONT");
      const woken = await ranks.ended(rank);
      assertEquals([woken.code, lossLines([woken])], [5, []], woken.stderr);
    }));
}

Deno.test("a rank that is told to end says nothing of a rank that it misses meanwhile", () =>
  withFiles({ samples: 1 }, async (files) => {
    await using ranks = await startLong(files, { size: 2 });
    ranks.signal(1, "SIGSTOP");
    ranks.signal(0, "SIGTERM");
    const end = await ranks.ended(0);
    assertEquals([end.code, lossLines([end])], [5, []], end.stderr);
  }));

Deno.test({
  name: "infer over TCP on two nodes gives the bytes of one process, met by address",
  ignore: !canHaveNodes,
  fn: () =>
    withFiles({ samples: 1 }, async (files, folder) => {
      await using nodes = await TwoNodes.make();
      const alone = { input: files.input, output: `${folder}/alone/out.jsonl` };
      const first = await runAlone(inferArgs(alone, { mode: "star", extra: ["-np", "4"] }));
      assertEquals(first.code, 0, first.stderr);
      await using ranks = new TcpRanks(inferArgs(files, { mode: "star" }), { size: 4, nodes });
      const ends = await ranks.allEnded();
      assertEquals(
        ends.map(({ code }) => code),
        [0, 0, 0, 0],
        ends.map((e) => e.stderr).join("\n"),
      );
      assertEquals(
        await Deno.readTextFile(files.output),
        await Deno.readTextFile(alone.output),
      );
    }),
});

Deno.test({
  name: "infer over TCP on two nodes meets rank 0 at its address of IPv6",
  ignore: !canHaveNodes,
  fn: () =>
    withFiles({ samples: 1 }, async (files) => {
      await using nodes = await TwoNodes.make();
      await using ranks = new TcpRanks(inferArgs(files, { mode: "star" }), {
        ...{ size: 2, nodes, address: nodes.addresses6[0] },
      });
      const ends = await ranks.allEnded();
      const texts = ends.map(({ stderr }) => stderr).join("\n");
      assertEquals(ends.map(({ code }) => code), [0, 0], texts);
      assertMatch(texts, /2 processes, TCP \(MPI is faster\)/);
    }),
});

Deno.test({
  name: "a node that is cut off ends the run over TCP on both sides, each in one line",
  ignore: !canHaveNodes,
  fn: () =>
    withFiles({ samples: 1 }, async (files) => {
      await using nodes = await TwoNodes.make();
      await using ranks = await startLong(files, { size: 4, nodes });
      await nodes.cut();
      const ends = await ranks.allEnded();
      assertEquals(
        ends.map(({ code }) => code),
        [5, 5, 5, 5],
        ends.map((e) => e.stderr).join("\n"),
      );
      const sides = [lossLines(ends.slice(0, 2)), lossLines(ends.slice(2))];
      assertEquals(sides.map(({ length }) => length), [1, 1], sides.flat().join("\n"));
      assertMatch(
        sides[0]?.[0] ?? "",
        /^rank [23] \(node n2, local [01]\): Lost rank [23] in phase/,
      );
      assertMatch(sides[1]?.[0] ?? "", /^rank 0 \(node n1, local 0\): Lost rank 0 in phase/);
    }),
});

Deno.test("infer over TCP refuses a rank with another key, which says so and is not waited for", () =>
  withFiles({ samples: 1 }, async (files) => {
    const extra = ["--start_timeout", "20"];
    await using ranks = new TcpRanks(inferArgs(files, { mode: "star", extra }), {
      size: 2,
      env: (rank) => rank === 1 ? { STARX_JOB_KEY: "another key of the tests" } : {},
    });
    const [zero, one] = await ranks.allEnded();
    assertEquals([zero?.code, one?.code], [5, 2], `${zero?.stderr}\n${one?.stderr}`);
    assertMatch(zero?.stderr ?? "", /Cannot start: not all ranks came.*rank 1/);
    assertMatch(one?.stderr ?? "", /refuses rank 1: it has another job key/);
  }));

Deno.test("infer without MPI refuses ranks without a meeting point, a key, or with a short one", async () => {
  const args = inferArgs({ input: "in.jsonl", output: "out.jsonl" }, { mode: "star" });
  const place = { RANK: "0", WORLD_SIZE: "2" };
  const master = { MASTER_ADDR: "127.0.0.1", MASTER_PORT: "29500" };
  const cases: [Record<string, string>, number, RegExp][] = [
    [place, 2, /^error: Cannot join 2 ranks .* set MASTER_ADDR and MASTER_PORT$/m],
    [{ ...place, ...master }, 2, /^error: Cannot join 2 ranks over TCP .* set STARX_JOB_KEY for/m],
    [
      { ...place, ...master, STARX_JOB_KEY: "short" },
      2,
      /^error: Cannot take the job key as it must have at least 16 bytes: current value has 5$/m,
    ],
  ];
  for (const [env, expected, text] of cases) {
    const { code, stderr } = await runAlone(args, env);
    assertEquals(code, expected, stderr);
    assertMatch(stderr, text);
  }
  const missing = [...args, "--job_key", "/nowhere/key"];
  const { code, stderr } = await runAlone(missing, { ...place, ...master });
  assertEquals(code, 3, stderr);
  assertMatch(stderr, /^error: Cannot read the job key \/nowhere\/key: /m);
});

/** What a rank needs besides the network. */
const LOCAL = [
  ...["--no-prompt", "--allow-read", "--allow-write", "--allow-env", "--allow-sys"],
  "--allow-ffi",
];

Deno.test("infer over TCP needs no more of the network than rank 0's address and port", () =>
  withFiles({ samples: 1 }, async (files) => {
    const permissions = (port: number) => [
      ...LOCAL,
      `--allow-net=localhost:${port},[::]:${port},0.0.0.0:${port}`,
    ];
    const places = { size: 2, address: "localhost", permissions };
    await using ranks = new TcpRanks(inferArgs(files, { mode: "star" }), places);
    const ends = await ranks.allEnded();
    assertEquals(ends.map(({ code }) => code), [0, 0], ends.map((e) => e.stderr).join("\n"));
  }));

Deno.test("infer over TCP says what to grant if it may not use the network", () =>
  withFiles({ samples: 1 }, async (files) => {
    const args = inferArgs(files, { mode: "star" });
    const places = { size: 2, address: "localhost", permissions: () => LOCAL };
    await using ranks = new TcpRanks(args, places);
    const ends = await ranks.allEnded();
    assertEquals(ends.map(({ code }) => code), [2, 2]);
    const grant = /as the network is not granted: .* add --allow-net=localhost:\d+(,\[::\]:\d+)?$/m;
    assertMatch(ends[0]?.stderr ?? "", /^error: Cannot listen at localhost:\d+ as the/m);
    for (const { stderr } of ends) assertMatch(stderr, grant);
  }));
