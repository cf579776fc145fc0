import { currentCommit } from "../../commands/shared/commit.ts";
import { assertEquals } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const A = "a".repeat(40);
const B = "b".repeat(40);

const CASES: readonly (readonly [string, Record<string, string>, string | undefined])[] = [
  ["a branch", { ".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": `${A}\n` }, A],
  [
    "a packed branch",
    {
      ".git/HEAD": "ref: refs/heads/x\n",
      ".git/packed-refs": `# pack\n${A} refs/y\n${B} refs/heads/x\n`,
    },
    B,
  ],
  ["no branch", { ".git/HEAD": `${B}\n` }, B],
  [
    "a work tree",
    {
      ".git": "gitdir: store/worktrees/w\n",
      "store/worktrees/w/HEAD": "ref: refs/heads/w\n",
      "store/worktrees/w/commondir": "../..\n",
      "store/refs/heads/w": `${A}\n`,
    },
    A,
  ],
  ["no repository", { "x": "" }, undefined],
  ["a repository that cannot be read", { ".git/HEAD/x": "" }, undefined],
];

for (const [name, files, commit] of CASES) {
  Deno.test(`currentCommit() finds the commit of ${name}`, async () => {
    await inFolder(files, async (folder) => {
      assertEquals(await currentCommit(new URL(`file://${folder}/`)), commit);
    });
  });
}

Deno.test("currentCommit() knows no commit of a web site", async () => {
  assertEquals(await currentCommit(new URL("https://example.com/x/")), undefined);
});
