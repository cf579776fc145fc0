import { DeviceError, FileError, RequestError } from "../../lib/errors.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;
const TEXT = "The grass is green. One of the special magic numbers for caf\u00e9 is: 4171982.\n";

/** A pattern that goes through the rest of the text at every letter. */
async function slowTokenizer(): Promise<string> {
  const file = JSON.parse(await Deno.readTextFile(`${TINY}/tokenizer.json`));
  const split = { type: "Split", pattern: { Regex: "[ab]+(?=z)|d" }, behavior: "Isolated" };
  const { pre_tokenizer: _, ...rest } = file;
  return JSON.stringify({ ...rest, pre_tokenizer: { ...split, invert: false } });
}
const SLOW_TEXT = `${"ab".repeat(300_000)} z`;

Deno.test("a tokenizer in a thread gives what one in this thread gives", async () => {
  using own = await loadTokenizer(TINY);
  using thread = await openTokenizerThread(TINY);
  const [ids, count] = await Promise.all([thread.encode(TEXT), thread.count(TEXT)]);
  assertEquals(ids, own.encode(TEXT));
  assertEquals(count, own.count(TEXT));
  const marked = own.encode(`${TEXT}<|eot_id|>`);
  assertEquals(await thread.decode([...marked]), `${TEXT}<|eot_id|>`);
  assertEquals(await thread.decode([...marked], { skipSpecialTokens: true }), TEXT);
});

Deno.test("a tokenizer in a thread keeps the classes of errors", async () => {
  await inFolder({ "a/tokenizer.json": "{" }, async (folder) => {
    await assertRejects(() => openTokenizerThread(`${folder}/a`), FileError, "it is not JSON");
    await assertRejects(() => openTokenizerThread(`${folder}/b`), FileError, "does not exist");
  });
  using thread = await openTokenizerThread(TINY);
  const long = "\u3042".repeat(3 * 2 ** 20);
  await assertRejects(() => thread.encode(long), RequestError, "at most 6291456 bytes");
  assertEquals((await thread.encode("The")).length > 0, true);
});

Deno.test("a text that takes too long ends with the file's name, and the next one works", async () => {
  await inFolder({ "tokenizer.json": await slowTokenizer() }, async (folder) => {
    using thread = await openTokenizerThread(folder, { baseMs: 5000, msPerMib: 100 });
    const error = await assertRejects(() => thread.encode(SLOW_TEXT), FileError);
    assert(
      error.message.startsWith(
        `Cannot encode with ${folder}/tokenizer.json as it must take at most`,
      ),
      error.message,
    );
    assertEquals(await thread.decode([...await thread.encode("d")]), "d");
  });
});

Deno.test("a tokenizer that is disposed of ends what it works at", async () => {
  await inFolder({ "tokenizer.json": await slowTokenizer() }, async (folder) => {
    const thread = await openTokenizerThread(folder);
    const ended = assertRejects(() => thread.encode(SLOW_TEXT), TypeError, "disposed");
    await new Promise((resolve) => setTimeout(resolve, 50));
    thread[Symbol.dispose]();
    await ended;
    await assertRejects(() => thread.encode("a"), TypeError, "disposed");
    thread[Symbol.dispose]();
  });
});

Deno.test({
  name: "infer is interrupted while it tokenizes",
  ignore: Deno.build.os === "windows",
  async fn() {
    const sample = { index: 0, input_context: SLOW_TEXT, input_query: "?", outputs: [""] };
    const files = { "in.jsonl": `${JSON.stringify(sample)}\n` };
    await inFolder(files, async (folder) => {
      await Deno.mkdir(`${folder}/model`);
      for (const name of ["config.json", "model.safetensors", "tokenizer_config.json"]) {
        await Deno.copyFile(`${TINY}/${name}`, `${folder}/model/${name}`).catch(() => undefined);
      }
      await Deno.writeTextFile(`${folder}/model/tokenizer.json`, await slowTokenizer());
      const child = new Deno.Command(Deno.execPath(), {
        args: [
          ...["run", "-A", new URL("../../cli.ts", import.meta.url).pathname, "infer"],
          ...["-p", `${folder}/model`, "-a", "dense", "--device", "cpu"],
          ...["--tokens_to_generate", "1", "--input_path", `${folder}/in.jsonl`],
          ...["--output_path", `${folder}/out.jsonl`],
        ],
        stdout: "null",
        stderr: "piped",
      }).spawn();
      let said = "";
      const decoder = new TextDecoder();
      for await (const chunk of child.stderr) {
        said += decoder.decode(chunk);
        // From here on the one sample is tokenized.
        if (said.includes("loaded in") && !said.includes("Interrupted")) child.kill("SIGTERM");
      }
      const { code } = await child.status;
      assertEquals([code, said.trim().split("\n").at(-1)], [130, "Interrupted"], said);
    });
  },
});

Deno.test("without the library's package an error names it, and not the tokenizer", async () => {
  const script = `
    import { openTokenizerThread } from ${
    JSON.stringify(new URL("../../lib/model/tokenizer_thread.ts", import.meta.url).href)
  };
    try { await openTokenizerThread(${JSON.stringify(TINY)}); }
    catch (error) { console.log(error.name + ": " + error.message); }`;
  await inFolder({ "run.ts": script }, async (folder) => {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--cached-only", "--quiet", "--no-lock", `${folder}/run.ts`],
      env: { DENO_DIR: `${folder}/cache`, NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    const start = `${DeviceError.name}: Cannot load the npm package @mlc-ai/web-tokenizers@`;
    assert(text.startsWith(start), text);
    assert(text.includes("docs/offline.md"), text);
  });
});
