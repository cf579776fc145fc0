import { FileError } from "../../lib/errors.ts";
import { fetchedFolder, findModelFolder, modelNameOf } from "../../lib/model/model_folder.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const COMMIT = "0123456789abcdef0123456789abcdef01234567";

async function withVariables(
  variables: Readonly<Record<string, string>>,
  run: () => Promise<void>,
): Promise<void> {
  const names = ["HF_HUB_CACHE", "HF_HOME", "HOME"];
  const before = names.map((name) => [name, Deno.env.get(name)] as const);
  for (const name of names) Deno.env.delete(name);
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    await run();
  } finally {
    for (const [name, value] of before) {
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

Deno.test("findModelFolder() finds a model of the hub in the cache of Hugging Face's programs", async () => {
  const snapshot = `models--who--what/snapshots/${COMMIT}`;
  await inFolder({
    "models--who--what/refs/main": COMMIT,
    [`${snapshot}/config.json`]: "{}",
    "models--who--broken/refs/main": "../../../etc",
  }, async (folder) => {
    const hub = `${folder}/x/hub`;
    await Deno.mkdir(`${folder}/x`);
    await Deno.mkdir(`${folder}/.cache/huggingface`, { recursive: true });
    await Deno.symlink(folder, hub);
    await Deno.symlink(folder, `${folder}/.cache/huggingface/hub`);
    const places = [
      [{ HF_HUB_CACHE: folder }, folder],
      [{ HF_HOME: `${folder}/x` }, hub],
      [{ HOME: folder }, `${folder}/.cache/huggingface/hub`],
    ] as const;
    for (const [variables, place] of places) {
      await withVariables(variables, async () => {
        assertEquals(await findModelFolder("who/what"), `${place}/${snapshot}`);
        for (const name of ["who/broken", "who/else"]) {
          await assertRejects(
            () => findModelFolder(name),
            FileError,
            `('deno task model --name ${name}' fetches it)`,
          );
        }
      });
    }
  });
});

Deno.test("findModelFolder() leaves paths alone", async () => {
  for (const path of ["/a/b", "./a/b", "a", "a/b/c", "../a/b", "lib/model"]) {
    assertEquals(await findModelFolder(path), path);
  }
  assertEquals(fetchedFolder("who/what"), "hf_models/who_what");
});

Deno.test("modelNameOf() has the hub's name of a cached model, or that of its folder", () => {
  const names = [
    [`/x/hub/models--who--what-1.0/snapshots/${COMMIT}`, "who/what-1.0"],
    ["/x/models/tiny/", "tiny"],
    ["/x/models/tiny/.", "tiny"],
    ["models/tiny.gguf", "tiny.gguf"],
  ] as const;
  for (const [path, name] of names) assertEquals(modelNameOf(path), name);
});
