/**
 * The README: its example runs, its links lead somewhere, and its commands and flags exist.
 *
 * @module
 */
import { FAMILIES } from "../lib/model/families/registry.ts";
import { assert, assertEquals, assertStringIncludes } from "./helpers/assert.ts";
import { ROOT } from "./helpers/sources.ts";

const readme = await Deno.readTextFile(new URL("README.md", ROOT));

async function run(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd: ROOT.pathname,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  assertEquals(code, 0, decoder.decode(stderr));
  return decoder.decode(stdout);
}

Deno.test("the README's examples run, and the first one finds its needle", async () => {
  const outputs: string[] = [];
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  try {
    for (const [, code = ""] of readme.matchAll(/```ts\n([\s\S]*?)```/g)) {
      await Deno.writeTextFile(path, code.replace('"./mod.ts"', `"${new URL("mod.ts", ROOT)}"`));
      outputs.push(await run(["run", "-A", path]));
    }
  } finally {
    await Deno.remove(path);
  }
  assertStringIncludes(outputs[0] ?? "", "4815162");
  assert(outputs.length > 1);
});

Deno.test("the documents' links lead to files", async () => {
  for (
    const name of [
      "README.md",
      "ARCHITECTURE.md",
      "docs/extend.md",
      "docs/nodes.md",
      "docs/gpu.md",
      "docs/models.md",
      "docs/scaling.md",
      "docs/selection.md",
      "docs/extend.md",
      "docs/tasks.md",
    ]
  ) {
    const base = new URL(name, ROOT);
    for (const [, link = ""] of (await Deno.readTextFile(base)).matchAll(/\]\(([^)#]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const isThere = await Deno.stat(new URL(link, base)).then(() => true, () => false);
      assert(isThere, `${name} links to ${link}`);
    }
  }
});

Deno.test("the README's table has every family", () => {
  const [, table = ""] = /\| Class of `config.json`[^\n]*\n([\s\S]*?)\n\n/.exec(readme) ?? [];
  const named = [...table.matchAll(/^\| `(\w+)`/gm)].map(([, name]) => name);
  assertEquals(named, FAMILIES.map(({ architecture }) => architecture));
});

Deno.test("the README's commands and flags are those of the command line", async () => {
  const help = await run(["run", "-A", "cli.ts", "--help"]);
  const flags = await run(["run", "-A", "cli.ts", "ruler", "--help"]);
  const { tasks } = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  const [, listed = ""] = /\| command [^\n]*\n([\s\S]*?)\n\n/.exec(readme) ?? [];
  for (const [, command] of `${listed}${readme}`.matchAll(/(?:cli\.ts |^\| `)([a-z]{5,})`? /gm)) {
    if (!/^(dense|xattn|starx|ringx)$/.test(command ?? "")) {
      assertStringIncludes(help, `\n  ${command} `);
    }
  }
  for (const [, task = ""] of readme.matchAll(/deno(?:@2)? task ([\w:]+)/g)) {
    assert(task in tasks, `deno.json has a task '${task}'`);
  }
  const [, table = ""] = /\| flag of `ruler`[^\n]*\n([\s\S]*?)\n\n/.exec(readme) ?? [];
  for (const [, flag = ""] of table.matchAll(/`(--?\w+)`/g)) {
    assert(new RegExp(`${flag}[ ,]`).test(flags), `ruler has a flag ${flag}`);
  }
});
