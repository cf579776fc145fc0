import { leadOf, sourceOf, titleOf } from "../../commands/report/heading.ts";
import { NOTHING } from "../../commands/report/markup.ts";
import { reportPage } from "../../commands/report/report.ts";
import type { Experiment } from "../../commands/results/experiment.ts";
import type { RunSession } from "../../commands/shared/run_record.ts";
import { VERSION } from "../../commands/shared/version.ts";
import { assertEquals, assertStringIncludes } from "../helpers/assert.ts";

function experiment(name: string, task: string, sessions: readonly RunSession[]): Experiment {
  const rest = { maxTokens: 4096, mean: undefined, samples: [], seconds: 1, density: 0.5 };
  const model = { path: "m", sha256: "0" };
  const record = { version: VERSION, model, sessions, options: {}, unchecked: {}, data: {} };
  return {
    name,
    folder: "nowhere",
    lengths: [{ maxTokens: 4096, folder: "nowhere", record, tasks: [{ task, ...rest }] }],
  };
}

function session(date: string, commit: string, device: string): RunSession {
  return { date: `${date}T10:00:00Z`, command: "ruler", commit, deno: "2", host: "h", device };
}

Deno.test("leadOf() names every commit, day and device of what is compared", () => {
  const first = session("2026-07-02", "aaaaaaaaaaaaaaaa", "cpu avx2");
  const second = session("2026-07-04", "bbbbbbbbbbbbbbbb", "NVIDIA H200");
  const [a, b] = [experiment("a", "vt", [second]), experiment("b", "vt", [first, second])];
  assertEquals(leadOf([a], []), `StarX ${VERSION}, commit bbbbbbbbbb, 2026-07-04 on NVIDIA H200`);
  assertEquals(
    leadOf([a, b], []),
    `StarX ${VERSION}, commits aaaaaaaaaa; bbbbbbbbbb, 2026-07-02 to 2026-07-04 on ` +
      "cpu avx2; NVIDIA H200",
  );
  const many = ["c", "d", "e", "f"].map((name) => session("2026-07-04", name, "NVIDIA H200"));
  assertEquals(
    leadOf([], many),
    `StarX ${VERSION}, commits c; d; e and 1 more, 2026-07-04 on NVIDIA H200`,
  );
  assertEquals(leadOf([], []), `StarX ${VERSION}`);
});

Deno.test("a report says whose scores it has", async () => {
  const [vt, qa, own] = ["vt", "qa1", "capitals"].map((task) => experiment(task, task, []));
  if (vt === undefined || qa === undefined || own === undefined) throw new Error("three of them");
  assertEquals(titleOf([vt]), "RULER: vt");
  assertEquals(titleOf([qa]), "BABILong: qa1");
  assertEquals(titleOf([own, vt]), "RULER: capitals, vt");
  assertEquals(titleOf([vt, qa]), "RULER and BABILong: vt, qa1");
  assertEquals(titleOf([vt, qa, own, vt]), "RULER and BABILong: vt and 3 more");
  assertEquals(sourceOf([qa], []), "BABILong's (arXiv 2406.10149)");
  assertEquals(sourceOf([], []), "RULER's (arXiv 2404.06654)");
  const both = "BABILong's (arXiv 2406.10149) and RULER's (arXiv 2404.06654)";
  assertEquals(sourceOf([qa], ["vt", "qa2", "capitals"]), both);
  assertEquals(sourceOf([qa, vt], []), both);
  const draw = (specs: readonly unknown[]) => Promise.resolve(specs.map(() => "<svg></svg>"));
  const page = await reportPage([qa], { draw });
  assertStringIncludes(page, "<h1>BABILong: qa1</h1>");
  assertStringIncludes(page, "Scores are BABILong's (arXiv 2406.10149), 0 to 100.");
  const part = {
    id: "sweep-0",
    link: "a sweep",
    title: "A sweep",
    charts: [],
    body: () => NOTHING,
  };
  const more = await reportPage([qa], { draw, parts: [{ ...part, tasks: ["vt"] }] });
  assertStringIncludes(more, `Scores are ${both}, 0 to 100.`);
});
