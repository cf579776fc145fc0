import { runEvaluate } from "../../commands/ruler/evaluate.ts";
import { runGather } from "../../commands/ruler/gather.ts";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "../helpers/assert.ts";
import { fakeModels } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { optionsIn, ruler } from "../helpers/ruler_run.ts";

/** Misses the samples of `vt` whose number is even. */
const models = () =>
  fakeModels(({ context, query }) =>
    context.startsWith("vt") && /[02468]$/.test(query) ? "no" : query
  );

async function gather(exps: string[], outputDir: string, format: "table" | "md" | "csv" | "json") {
  let text = "";
  await runGather({ exps, outputDir, format }, (part) => text += part);
  return text;
}

const EXP = "tiny_starx_b256a256";

Deno.test("runRuler() writes results in lm-evaluation-harness's form", async () => {
  await inFolder({}, async (folder) => {
    const options = optionsIn(folder, { lengths: [512, 1024], sampleCount: 4, logSamples: true });
    await ruler(options, models());
    const root = `${folder}/results/${EXP}`;
    const names = Array.from(Deno.readDirSync(root), ({ name }) => name).sort();
    const [results = "", ...more] = names.filter((name) => /^results_.*\.json$/.test(name));
    assertMatch(results, /^results_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.json$/);
    assertEquals(more, []);
    const found = JSON.parse(await Deno.readTextFile(`${root}/${results}`));
    assertEquals(Object.keys(found.results), ["niah_single_1", "vt"]);
    assertEquals(found.results.vt["512,none"], 0.5);
    const stderr = found.results.vt["1024_stderr,none"];
    assert(stderr > 0.2 && stderr < 0.3, `${stderr}`);
    assertEquals(found["n-samples"].vt, { original: 8, effective: 8 });
    assertEquals(found.configs.vt.metadata.max_seq_lengths, [512, 1024]);
    assertEquals(found.configs.vt.metadata.data["512"].samples, 4);
    assertEquals(found.config.model_args.attn_type, "starx");
    assertMatch(found.pretty_env_info, /^Deno \d/);
    assert(Math.abs(found.date * 1000 - Date.now()) < 600_000);
    for (const name of ["model_sha256", "tokenizer_sha256", "kernels_sha256"]) {
      assertMatch(found[name], /^[0-9a-f]{64}$/);
    }
    const samples = names.find((name) => name.startsWith("samples_vt_")) ?? "";
    const lines = (await Deno.readTextFile(`${root}/${samples}`)).trim().split("\n")
      .map((line) => JSON.parse(line));
    assertEquals(lines.length, 8);
    assertEquals(lines.map((line) => line["512"]).slice(0, 4), [0, 1, 0, 1]);
    assertEquals(lines[1].filtered_resps, ["needle 1"]);
  });
});

Deno.test("runRuler() tells what is finished while it runs", async () => {
  await inFolder({}, async (folder) => {
    await ruler(optionsIn(folder, { tasks: ["vt"] }), models());
    const text = await Deno.readTextFile(`${folder}/results/${EXP}/events.jsonl`);
    const events = text.trim().split("\n").map((line) => JSON.parse(line));
    assertEquals(
      events.map(({ task, length, sample, score, mean, seconds, generatedTokens }) => [
        ...[task, length, sample, score, mean, seconds, generatedTokens],
      ]),
      [["vt", 512, 0, 0, 0, 0.5, 2], ["vt", 512, 1, 100, 50, 0.5, 2]],
    );
    for (const { time } of events) assert(!Number.isNaN(Date.parse(time)));
  });
});

Deno.test("runGather() shows any number of samples, single tasks, and experiments side by side", async () => {
  await inFolder({}, async (folder) => {
    const outputDir = `${folder}/results`;
    await ruler(optionsIn(folder, { sampleCount: 4 }), models());
    await ruler(optionsIn(folder, { modelName: "other", tasks: ["vt"], sampleCount: 2 }), models());
    const table = await gather([EXP, `other_${EXP.slice(5)}`], outputDir, "table");
    assertEquals(
      table,
      "task            tiny_starx_b256a256 512  other_starx_b256a256 512\n" +
        "--------------  -----------------------  ------------------------\n" +
        "niah_single_1               100.0 ± 0.0\n" +
        "vt                          50.0 ± 24.3               50.0 ± 35.3\n" +
        "--------------  -----------------------  ------------------------\n" +
        "mean                        75.0 ± 12.2              50.0 ± 35.3*\n" +
        "samples                               4                         2\n" +
        "tiles computed                     0.38                      0.38\n" +
        "s per sample                       0.50                      0.50\n" +
        "\n* mean of fewer tasks than in other columns\n",
    );
    const md = await gather([EXP], outputDir, "md");
    assertStringIncludes(md, "| task | 512 |\n| --- | ---: |\n| niah_single_1 | 100.0 ± 0.0 |\n");
    const csv = (await gather([EXP], outputDir, "csv")).split("\n");
    assertEquals(csv[0], "experiment,mode,length,task,n,score,stderr,density,seconds");
    assertMatch(csv[2] ?? "", /^tiny_starx_b256a256,starx,512,vt,4,50,24\.\d+,0\.375,0\.5$/);
    assertEquals(await Deno.readTextFile(`${outputDir}/${EXP}/results.csv`), csv.join("\n"));
    const [first] = JSON.parse(await gather([EXP], outputDir, "json"));
    assertEquals([first.task, first.n, first.stderr], ["niah_single_1", 4, 0]);
  });
});

Deno.test("runGather() reads summaries where no records are left, also of single tasks", async () => {
  const files = {
    "results/x/4096/summary-vt.csv": "0,1\nTasks,vt\nScore,98.2\nNulls,0/100\n",
    "results/x/8192/summary.csv": "0,1,2\nTasks,vt,cwe\nScore,97.1,n/a\nNulls,0/7,0/7\n",
  };
  await inFolder(files, async (folder) => {
    const table = await gather(["x"], `${folder}/results`, "table");
    assertStringIncludes(table, "vt              98.2  97.1\n");
    assertStringIncludes(table, "cwe                    n/a\n");
    assertStringIncludes(table, "samples          100     7\n");
  });
});

Deno.test("runEvaluate() scores one's own tasks by a metric that is named", async () => {
  const line = (pred: string, answer: string) =>
    `${JSON.stringify({ index: 0, pred, outputs: [answer], others: {} })}\n`;
  const files = { "capitals.jsonl": line("Paris", "paris") + line("It is Rome", "rome") };
  await inFolder(files, async (folder) => {
    const score = async (metric: "all" | "part" | "exact" | "f1"): Promise<number | undefined> => {
      const { scores } = await runEvaluate(
        {
          dataDir: folder,
          benchmark: "synthetic",
          verbose: undefined,
          terminalColumns: 80,
          metric,
        },
        { print: () => {}, log: () => {} },
      );
      assertEquals(scores.map(({ task }) => task), ["capitals"]);
      return scores[0]?.score;
    };
    assertEquals(await score("all"), 100);
    assertEquals(await score("exact"), 50);
    assertEquals(await score("f1"), 75);
  });
});
