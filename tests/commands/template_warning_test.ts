import { templateWarning } from "../../commands/ruler/template.ts";
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { MODEL_TEMPLATES } from "../../ruler/templates.ts";
import { assert, assertEquals, assertStringIncludes } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { MODEL } from "../helpers/prompts.ts";

async function warning(name: string, folder: string): Promise<string | undefined> {
  using tokenizer = await loadTokenizer(MODEL);
  const template = MODEL_TEMPLATES[name];
  assert(template !== undefined);
  return await templateWarning({ ...template, name }, { folder, tokenizer });
}

Deno.test("templateWarning() names special tokens that the tokenizer does not know", async () => {
  assertEquals(await warning("llama3", MODEL), undefined);
  const text = await warning("qwen", MODEL) ?? "";
  assertStringIncludes(text, "does not know <|im_start|> <|im_end|> of the template 'qwen'");
});

Deno.test("templateWarning() marks an instruct model without a template", async () => {
  const template = { chat_template: "{% for m in messages %}<|u|>{{ m['content'] }}{% endfor %}" };
  const config = { "tokenizer_config.json": JSON.stringify(template), "config.json": "{}" };
  await inFolder({ "config.json": "{}" }, async (folder) => {
    assertEquals(await warning("base", folder), undefined);
  });
  await inFolder(config, async (folder) => {
    assertStringIncludes(await warning("base", folder) ?? "", "has a chat template of its own");
  });
});
