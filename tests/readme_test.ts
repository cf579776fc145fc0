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

Deno.test("the README's examples run with the permissions that it names", async () => {
  const outputs: string[] = [];
  const path = await Deno.makeTempFile({ suffix: ".ts" });
  const [, named = "", further = ""] =
    /needs\s+`(--[^`]+)`\s+and,\s+for\s+`processCount`[^`]*`(--[^`]+)`/.exec(readme) ?? [];
  assert(named !== "" && further !== "", "the README names permissions");
  try {
    for (const [, code = ""] of readme.matchAll(/```ts\n([\s\S]*?)```/g)) {
      await Deno.writeTextFile(path, code.replace('"./mod.ts"', `"${new URL("mod.ts", ROOT)}"`));
      const permissions = [...named.split(" "), ...code.includes("processCount") ? [further] : []];
      outputs.push(await run(["run", "--no-prompt", ...permissions, path]));
    }
  } finally {
    await Deno.remove(path);
  }
  assertStringIncludes(outputs[0] ?? "", "4815162");
  assert(outputs.length > 1);
});

/** The documents that the repository has. */
function* documents(): Generator<string> {
  yield* [
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "kernels/README.md",
    "findings/README.md",
  ];
  for (const { name } of Deno.readDirSync(new URL("docs", ROOT))) {
    if (name.endsWith(".md")) yield `docs/${name}`;
  }
}

/** What leads to a document's headings, as GitHub has it. */
function anchorsOf(text: string): Set<string> {
  const headings = text.replace(/```[\s\S]*?```/g, "").matchAll(/^#+ (.*)$/gm);
  return new Set(
    Array.from(
      headings,
      ([, heading = ""]) =>
        heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase().replace(/[^\w\- ]/g, "")
          .replaceAll(" ", "-"),
    ),
  );
}

Deno.test("the documents' links lead to files and headings", async () => {
  for (const name of documents()) {
    const base = new URL(name, ROOT);
    for (const [, link = ""] of (await Deno.readTextFile(base)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(link)) continue;
      const { hash, href } = new URL(link, base);
      const target = new URL(href.slice(0, href.length - hash.length));
      const isThere = await Deno.stat(target).then(() => true, () => false);
      assert(isThere, `${name} links to ${link}`);
      if (hash === "") continue;
      const anchors = anchorsOf(await Deno.readTextFile(target));
      assert(anchors.has(hash.slice(1)), `${name} links to a heading that is not there: ${link}`);
    }
  }
});

Deno.test("the documents' paths of files of the repository are there", async () => {
  const path =
    /`((?:babilong|bench|commands|docs|kernels|lib|models|ruler|scripts|tests)\/[\w./-]+)`/g;
  const missing: string[] = [];
  let count = 0;
  for (const name of documents()) {
    const text = await Deno.readTextFile(new URL(name, ROOT));
    for (const [, named = ""] of text.matchAll(path)) {
      // A changelog tells what was, and NAME stands for any.
      if (name === "CHANGELOG.md" || /NAME/.test(named)) continue;
      count++;
      const isThere = await Deno.stat(new URL(named, ROOT)).then(() => true, () => false);
      if (!isThere) missing.push(`${name}: ${named}`);
    }
  }
  assert(count > 100, `${count}`);
  assertEquals(missing, []);
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
  const commands = [...help.matchAll(/^ {2}([a-z]{5,}) +[a-z]/gm)].map(([, command]) => command);
  assert(commands.length > 10, help);
  for (const command of commands) assert(listed.includes(`\n| \`${command}\` `), `has ${command}`);
  for (const [, task = ""] of readme.matchAll(/deno(?:@2)? task ([\w:]+)/g)) {
    assert(task in tasks, `deno.json has a task '${task}'`);
  }
  const [, table = ""] = /\| flag of `ruler`[^\n]*\n([\s\S]*?)\n\n/.exec(readme) ?? [];
  for (const [, flag = ""] of table.matchAll(/`(--?\w+)`/g)) {
    assert(new RegExp(`${flag}[ ,]`).test(flags), `ruler has a flag ${flag}`);
  }
});
