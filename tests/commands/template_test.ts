import { checkTemplateName, chooseTemplate } from "../../commands/ruler/template.ts";
import { FileError, UsageError } from "../../lib/errors.ts";
import { MODEL_TEMPLATES } from "../../ruler/templates.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const FLAG = "--prompt_config";
const TOKENIZER = {
  encode: () => new Int32Array(0),
  decode: (ids: readonly number[]) => ids.map((id) => `<id ${id}>`).join(""),
  count: () => 0,
};
/** In the manner of Llama 2's and Mistral's: the model's first token is the template's own. */
const INST = "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}" +
  "{{ '[INST] ' + message['content'] + ' [/INST]' }}{% else %}{{ raise_exception('no') }}{% endif %}" +
  "{% endfor %}";
const CONFIG = { bos_token: { content: "<s>" }, eos_token: "</s>" };

function choose(name: string, folder: string) {
  return chooseTemplate(name, { folder, tokenizer: TOKENIZER, flag: FLAG });
}

Deno.test("chooseTemplate() knows RULER's names, and puts each task in one place", async () => {
  const names = [
    ...["base", "llama3", "meta-llama3", "meta-chat", "mistral", "qwen", "phi3", "vicuna"],
    ...["vicuna-chat", "lwm-chat", "command-r-chat", "chatglm-chat", "RWKV", "Phi3", "jamba"],
    "nemotron5-instruct",
  ];
  assertEquals(new Set(Object.keys(MODEL_TEMPLATES)), new Set(names));
  for (const name of names) {
    const { before, after, ...rest } = await choose(name, "/nowhere");
    assertEquals([before, after, rest.name], [
      MODEL_TEMPLATES[name]?.before,
      MODEL_TEMPLATES[name]?.after,
      name,
    ]);
  }
  const { before, after } = await choose("meta-llama3", "/nowhere");
  assertEquals(
    `${before}TASK${after}`,
    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nTASK<|eot_id|>" +
      "<|start_header_id|>assistant<|end_header_id|>\n\n",
  );
});

Deno.test("chooseTemplate() renders the model's own chat template", async () => {
  const generation = JSON.stringify({ eos_token_id: [7, 9] });
  const forms: Record<string, Record<string, string>> = {
    text: { "tokenizer_config.json": JSON.stringify({ ...CONFIG, chat_template: INST }) },
    several: {
      "tokenizer_config.json": JSON.stringify({
        ...CONFIG,
        chat_template: [
          { name: "tool_use", template: "{{ tools }}" },
          { name: "default", template: INST },
        ],
      }),
    },
    file: {
      "chat_template.jinja": INST,
      "tokenizer_config.json": JSON.stringify({ ...CONFIG, chat_template: "{{ 'older' }}" }),
    },
  };
  for (const [form, files] of Object.entries(forms)) {
    await inFolder({ ...files, "generation_config.json": generation }, async (folder) => {
      const { before, after, stopWords, name } = await choose("chat", folder);
      assertEquals([before, after], ["<s>[INST] ", " [/INST]"], form);
      assertEquals(stopWords, ["</s>", "<id 7>", "<id 9>"], form);
      assertMatch(name, /^chat \([0-9a-f]{16}\)$/);
    });
  }
});

Deno.test("chooseTemplate() gives a chat template none for tools and documents", async () => {
  const template =
    "{{ 'tools ' if tools is not none }}{{ 'documents ' if documents is not none }}" +
    "{{ 'defined ' if tools is defined }}" + INST;
  const files = { "tokenizer_config.json": JSON.stringify({ ...CONFIG, chat_template: template }) };
  await inFolder(files, async (folder) => {
    assertEquals((await choose("chat", folder)).before, "defined <s>[INST] ");
  });
});

Deno.test("chooseTemplate() gives the model's own template the values behind a colon", async () => {
  // In the manner of Qwen 3's.
  const template = INST + "{% if add_generation_prompt %} A{% if enable_thinking is defined and " +
    "enable_thinking is false %}<think></think>{% endif %}{{ style }}{{ n }}{% endif %}";
  await inFolder({ "chat_template.jinja": template }, async (folder) => {
    const plain = await choose("chat", folder);
    const quiet = await choose("chat:enable_thinking=false,style=short,n=2", folder);
    assertEquals(plain.after, " [/INST] A");
    assertEquals(quiet.after, " [/INST] A<think></think>short2");
    assertEquals((await choose("chat:enable_thinking=true", folder)).after, plain.after);
    assertEquals(plain.name === quiet.name, false);
  });
  for (const name of ["chat:", "chat:a", "chat:a=1,b", "chat:=1"]) {
    assertThrows(
      () => checkTemplateName(name, FLAG),
      UsageError,
      `--prompt_config: must have NAME=VALUE, with commas between several, behind 'chat:': current ` +
        `value is '${name}'`,
    );
  }
});

Deno.test("chooseTemplate() refuses a Git LFS pointer in a chat template's place", async () => {
  const pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
  await inFolder({ "chat_template.jinja": pointer }, async (folder) => {
    await assertRejects(() => choose("chat", folder), FileError, "it is a Git LFS pointer");
  });
});

Deno.test("chooseTemplate() gives a chat template one day for all runs", async () => {
  const template = `{{ 'Today Date: ' + strftime_now('%d %b %Y') + ' ' }}${INST}`;
  const files = { "tokenizer_config.json": JSON.stringify({ ...CONFIG, chat_template: template }) };
  await inFolder(files, async (folder) => {
    const { before } = await choose("chat", folder);
    assertEquals(before, "Today Date: 26 Jul 2024 <s>[INST] ");
  });
});

Deno.test("chooseTemplate() takes a file with the task's place", async () => {
  const files = {
    "a.txt": "Q: {task_template}\nA:",
    "b.json": JSON.stringify({ template: "<{task_template}>", stop_words: ["\n"] }),
  };
  await inFolder(files, async (folder) => {
    const text = await choose(`${folder}/a.txt`, "/nowhere");
    assertEquals([text.before, text.after, text.stopWords], ["Q: ", "\nA:", []]);
    const json = await choose(`${folder}/b.json`, "/nowhere");
    assertEquals([json.before, json.after, json.stopWords], ["<", ">", ["\n"]]);
  });
});

Deno.test("chooseTemplate() refuses what is no template", async () => {
  assertThrows(() => checkTemplateName("llama9", FLAG), UsageError, "must be one of base, llama3,");
  const files = {
    "none.txt": "no place",
    "two.txt": "{task_template}{task_template}",
    "other.txt": "{date} {task_template}",
    "bad.json": JSON.stringify({ template: 5 }),
    "words.json": JSON.stringify({ template: "{task_template}", stop_words: "x" }),
    "empty/tokenizer_config.json": "{}",
    "twice/chat_template.jinja": "{{ messages[0].content }}{{ messages[0].content }}",
    "raises/chat_template.jinja": "{{ raise_exception('system first') }}",
    "wrong/chat_template.jinja": "{% for %}",
  };
  await inFolder(files, async (folder) => {
    const cases = [
      ["none.txt", "the text must have {task_template} once: current value is 0 times"],
      ["two.txt", "the text must have {task_template} once: current value is 2 times"],
      ["other.txt", "must have no other field than {task_template}: current value has {date}"],
      ["bad.json", "'template' must be a text: current value is 5"],
      ["words.json", "'stop_words' must be an array of texts"],
    ] as const;
    for (const [file, line] of cases) {
      await assertRejects(() => choose(`${folder}/${file}`, folder), UsageError, line);
    }
    await assertRejects(() => choose(`${folder}/no.txt`, folder), FileError, "does not exist");
    const chats = [
      ["empty", "it must have chat_template.jinja, or a text 'chat_template'"],
      ["twice", "it must show a user's message once: found 2 times"],
      ["raises", "system first"],
      ["wrong", "Cannot use the chat template in"],
    ] as const;
    for (const [name, line] of chats) {
      await assertRejects(() => choose("chat", `${folder}/${name}`), FileError, line);
    }
  });
});
