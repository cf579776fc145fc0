/**
 * The project imported and run from a web site, with empty caches: modules, the kernel library and
 * workers all come over http.
 *
 * @module
 */
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { goldenEntries } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";
import { ROOT } from "../helpers/sources.ts";

/** A web site of the repository's files. */
function serveRepository(requested: string[]): Deno.HttpServer<Deno.NetAddr> {
  return Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const { pathname } = new URL(request.url);
    requested.push(pathname);
    try {
      const file = await Deno.open(new URL(`.${pathname}`, ROOT));
      const type = pathname.endsWith(".ts") ? "application/typescript" : "application/octet-stream";
      return new Response(file.readable, { headers: { "content-type": type } });
    } catch {
      return new Response("not here", { status: 404 });
    }
  });
}

/** Runs Deno with caches of its own. */
async function runDeno(
  args: readonly string[],
  folder: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  const output = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    env: {
      HOME: folder,
      DENO_DIR: `${folder}/deno`,
      XDG_CACHE_HOME: `${folder}/cache`,
      // The library is to come from the web site.
      STARX_KERNELS: "",
      NO_COLOR: "1",
      ...env,
    },
    cwd: folder,
  }).output();
  const decoder = new TextDecoder();
  return {
    code: output.code,
    stdout: decoder.decode(output.stdout),
    stderr: decoder.decode(output.stderr),
  };
}

const GOLDEN_TASK = "niah_single_3";

async function goldenPrompt(): Promise<{ context: string; query: string; ids: number[] }> {
  const entry = (await goldenEntries()).find(({ task }) => task === GOLDEN_TASK);
  assert(entry !== undefined);
  const { context, query, modes } = entry;
  return { context, query, ids: [...modes["dense"]?.greedy_ids ?? []] };
}

Deno.test("mod.ts can be imported from a web site", async () => {
  const requested: string[] = [];
  await using server = serveRepository(requested);
  await inFolder({}, async (folder) => {
    const base = `http://127.0.0.1:${server.addr.port}`;
    const { context, query, ids } = await goldenPrompt();
    await Deno.writeTextFile(`${folder}/prompt.json`, JSON.stringify({ context, query }));
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { loadModel } from "${base}/mod.ts";
const prompt = { ...JSON.parse(Deno.readTextFileSync("prompt.json")), sample: "1" };
await using model = await loadModel(${JSON.stringify(MODEL)}, { mode: "star", blockTokens: 512,
  device: "cpu", precision: "f32", processCount: 2, threads: 1 });
const { ids, result } = await model.generate(prompt, { tokensToGenerate: ${ids.length} });
console.log(JSON.stringify({ ids, ranks: result.ranks.length }));
`,
    );
    const { code, stdout, stderr } = await runDeno(
      ["run", "-A", "main.ts"],
      folder,
    );
    assertEquals(code, 0, stderr);
    const found = JSON.parse(stdout);
    assertEquals(found.ranks, 2);
    assertEquals(found.ids.length, ids.length);
    assert(requested.includes("/lib/engine/worker.ts"));
    assert(requested.some((path) => path.endsWith(".so")));
    const kept = [...Deno.readDirSync(`${folder}/cache/starx/kernels`)];
    assertEquals(kept.length, 1);
    assertMatch(kept[0]?.name ?? "", /^[0-9a-f]{64}$/);
  });
});

Deno.test("mod.ts from a web site does with the permissions that the README names", async () => {
  const readme = await Deno.readTextFile(new URL("README.md", ROOT));
  const [, named = "", further = "", first = ""] =
    /needs\s+`(--[^`]+)`[\s\S]*?From a URL it needs\s+`(--[^`]+)`[\s\S]*?first time\s+`(--[^`]+)`/
      .exec(readme) ?? [];
  assert(first !== "", "the README names permissions");
  await inFolder({}, async (folder) => {
    const server = serveRepository([]);
    const host = `127.0.0.1:${server.addr.port}`;
    await Deno.writeTextFile(
      `${folder}/main.ts`,
      `import { loadModel } from "http://${host}/mod.ts";
await using model = await loadModel(${JSON.stringify(MODEL)}, { device: "cpu", threads: 1 });
const { ids } = await model.generate({ context: "a b c", query: " d" }, { tokensToGenerate: 2 });
console.log(ids.length);
`,
    );
    // The folder of the cache is the one below HOME here.
    const variables = { XDG_CACHE_HOME: "" };
    const run = (permissions: string) => {
      const flags = permissions.replaceAll("HOST", host).replaceAll("$HOME", folder).split(" ");
      return runDeno(["run", "--no-prompt", ...flags, "main.ts"], folder, variables);
    };
    try {
      const without = await run(`${named} --allow-import=HOST ${first}`);
      assertMatch(without.stderr, /XDG_CACHE_HOME and HOME are not readable without --allow-env$/m);
      const { code, stdout, stderr } = await run(`${named} ${further} ${first}`);
      assertEquals(code, 0, stderr);
      assertEquals(stdout, "2\n");
    } finally {
      await server.shutdown();
    }
    const again = await run(`${named} ${further}`);
    assertEquals(again.code, 0, again.stderr);
    assertEquals(again.stdout, "2\n");
  });
});

Deno.test("cli.ts runs from a web site", async () => {
  await using server = serveRepository([]);
  await inFolder({}, async (folder) => {
    const { context, query, ids } = await goldenPrompt();
    const record = { index: 0, input_context: context, input_query: query, outputs: ["x"] };
    await Deno.writeTextFile(`${folder}/in.jsonl`, `${JSON.stringify(record)}\n`);
    const { code, stderr } = await runDeno([
      "run",
      "-A",
      `http://127.0.0.1:${server.addr.port}/cli.ts`,
      "infer",
      ...["--model_path", MODEL, "--attn_type", "dense", "--dtype", "f32"],
      ...["--tokens_to_generate", String(ids.length), "--top_logits", "1"],
      ...["--input_path", `${folder}/in.jsonl`, "--output_path", `${folder}/out.jsonl`],
    ], folder);
    assertEquals(code, 0, stderr);
    const [line = ""] = (await Deno.readTextFile(`${folder}/out.jsonl`)).split("\n");
    assertEquals(JSON.parse(line).generated_ids, ids);
  });
});

Deno.test("ruler and report from a web site need no network once they have run", async () => {
  await inFolder({}, async (folder) => {
    const server = serveRepository([]);
    const cli = `http://127.0.0.1:${server.addr.port}/cli.ts`;
    const ruler = [
      ...["ruler", "-p", MODEL, "-pc", "llama3", "-a", "starx", "-bs", "256", "-np", "2"],
      ...["-l", "1024", "-t", "niah_single_1", "--num_samples_per_task", "2", "--device", "cpu"],
    ];
    try {
      const { code, stderr } = await runDeno(["run", "-A", cli, ...ruler, "-n", "first"], folder);
      assertEquals(code, 0, stderr);
      assertMatch(stderr, /^Report: /m);
    } finally {
      await server.shutdown();
    }
    const offline = ["run", "-A", "--deny-net", "--cached-only", cli];
    // The charts are drawn by a process that is not told so: its way to a registry is closed.
    const nowhere = "http://127.0.0.1:9";
    const env = { HTTPS_PROXY: nowhere, HTTP_PROXY: nowhere, NO_PROXY: "" };
    const again = await runDeno([...offline, ...ruler, "-n", "second"], folder, env);
    assertEquals(again.code, 0, again.stderr);
    assertMatch(again.stderr, /^Report: /m);
    assertMatch(again.stdout, /^niah_single_1 +\d+\.\d ± /m);
    const experiments = ["first", "second"].map((name) => `results/${name}_starx_b256a256`);
    const report = await runDeno(
      [...offline, "report", ...experiments, "-o", "both.html"],
      folder,
      env,
    );
    assertEquals(report.code, 0, report.stderr);
    const html = await Deno.readTextFile(`${folder}/both.html`);
    assert(html.includes("<svg") && html.includes("second"), "it has its charts");
    // What it was made with is not there to be asked for any more.
    assert((await fetch(cli).then(({ status }) => status, () => 0)) === 0);
  });
});
