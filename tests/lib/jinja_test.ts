/**
 * Templates in the manner of those of chat models, rendered as Jinja in Python does.
 *
 * @module
 */
import { renderJinja } from "../../lib/deps/jinja.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";

/** The texts are those of Python's jinja2 3.1.6. */
const CASES: readonly {
  readonly name: string;
  readonly template: string;
  readonly values: Readonly<Record<string, unknown>>;
  readonly text: string;
}[] = [
  {
    name: "characters to strip",
    template: [
      "{{ text.strip('\\n') }}|{{ text.lstrip('\\n') }}|{{ text.rstrip('\\n') }}",
      "|{{ text.strip() }}",
    ].join(""),
    values: { "text": "\n\n  x \n" },
    text: "  x |  x \n|\n\n  x |x",
  },
  {
    name: "characters to strip that repeat, and the filter trim",
    template: [
      "{{ text.strip('ab') }}|{{ text | trim('ab') }}|{{ text.split('c')[-1].lstrip('b') }}",
    ].join(""),
    values: { "text": "abacbab" },
    text: "c|c|ab",
  },
  {
    name: "strip without characters, or with one of two code units",
    template: "{{ text.strip(none) }}|{{ text.lstrip('\ud834\udcd0') }}",
    values: { "text": " \ud834\udcd0x " },
    text: "\ud834\udcd0x| \ud834\udcd0x ",
  },
  {
    name: "capital letters",
    template: "{{ 'hELLO wORLD'.capitalize() }} {{ text | capitalize }} {{ ''.capitalize() }}.",
    values: { "text": "uSER" },
    text: "Hello world User .",
  },
  {
    name: "attributes that are not there",
    template: [
      "{% for m in all | rejectattr('role', 'equalto', 'tool') | selectattr('calls', 'undefined') %}",
      "{{ m.role }}{% endfor %} {{ all | rejectattr('calls', 'undefined') | list | length }}",
      " {{ all | selectattr('calls', 'defined') | list | length }}",
      " {{ all | rejectattr('calls', 'defined') | list | length }}",
    ].join(""),
    values: { "all": [{ role: "user" }, { role: "assistant", calls: [1] }, { role: "tool" }] },
    text: "user 1 1 2",
  },
  {
    name: "remainders",
    template: "{{ -1 % 2 }} {{ (0 - 1) % 2 }} {{ 1 % -2 }} {{ (i - 1) % 2 == 1 }} {{ 7 % 3 }}",
    values: { "i": 0 },
    text: "1 1 -1 True 1",
  },
  {
    name: "equal lists",
    template: [
      "{% if calls != [] %}calls{% else %}plain{% endif %} {{ calls == [] }}",
      " {{ [1, 'a', [2]] == [1, 'a', [2]] }} {{ [1] == [2] }}",
    ].join(""),
    values: { "calls": [] },
    text: "plain True True False",
  },
  {
    name: "equal objects, and what is no text",
    template: [
      "{{ {'a': [1]} == {'a': [1]} }} {{ '1' == 1 }} {{ true == 1 }} {{ none == missing }}",
      " {{ missing == other }}",
    ].join(""),
    values: {},
    text: "True False True False True",
  },
  {
    name: "a flag that is set in a loop",
    template: [
      "{% set seen = false %}{% for role in ['system', 'user', 'tool', 'user'] %}",
      "{% if seen %}after-{% endif %}{{ role }} {% if role == 'user' %}{% set seen = true %}",
      "{% endif %}{% endfor %}then {{ seen }}",
    ].join(""),
    values: {},
    text: "system user tool user then False",
  },
  {
    name: "loops in loops",
    template: [
      "{% for a in [1, 2] %}{% set x = a %}{% for b in [1, 2] %}{{ x }}{% set x = x + 10 %}",
      "{{ x }} {% endfor %}{{ x }};{% endfor %}{{ x is defined }}",
    ].join(""),
    values: {},
    text: "111 111 1;212 212 2;False",
  },
  {
    name: "a loop's own variable",
    template: "{% for a in [1, 2] %}{% set a = a + 1 %}{{ a }}{{ loop.index }} {% endfor %}",
    values: {},
    text: "21 32 ",
  },
  {
    name: "a namespace",
    template: [
      "{% set ns = namespace(n=0) %}{% for a in [1, 2] %}{% set ns.n = ns.n + a %}",
      "{% endfor %}{{ ns.n }}",
    ].join(""),
    values: {},
    text: "3",
  },
  {
    name: "membership",
    template: [
      "{{ [1] in [[1], 2] }} {{ {'a': 1} in [{'a': 1}] }} {{ 1 in ['1'] }} {{ true in [1] }}",
      " {{ none in [1, none] }} {{ 'b' in 'abc' }} {{ 'x' not in 'abc' }} {{ 'a' in {'a': 1} }}",
      " {{ 'b' not in roles }} {{ 'b' in missing }} {{ missing in ['b'] }}",
    ].join(""),
    values: { "roles": ["a", "b"] },
    text: "True True False True True True True True False False False",
  },
  {
    name: "what is no text where it is written",
    template: [
      "{{ true }} {{ false }} {{ none }}{{ missing }} {{ [true, none, 1, 1.5, 'a'] }} {{ 1.0 }}",
      " {{ {'a': 1, 'b': [true]} }} {{ 'a' ~ 1 ~ true ~ none }} {{ true | string }}",
      " {{ \"it's\" }} {{ [\"it's\", 'a\\n\\\\b', 'a\"b', '\"\\''] }}",
      "{% if m %} {{ m.a is defined }}{% endif %}{% for x in [none] %} {{ x }}{% endfor %}",
      " {{ 'x' if true }}{{ 'x' if false }} {% set t %}{{ true }}{% endset %}{{ t }}",
      "{% filter upper %} {{ none }}{% endfilter %}",
      "{% macro f(x) %} {{ x }}{% endmacro %}{{ f(true) }} {{ m.get('z') }}",
    ].join(""),
    values: { "m": { "a": 1 } },
    text:
      "True False None [True, None, 1, 1.5, 'a'] 1.0 {'a': 1, 'b': [True]} a1TrueNone True it's " +
      "[\"it's\", 'a\\n\\\\b', 'a\"b', '\"\\''] True None x True NONE True None",
  },
  {
    name: "a system message by default, as Qwen 2.5's",
    template: [
      "{%- if messages[0]['role'] == 'system' %}{{- messages[0]['content'] }}{%- else %}",
      "{{- '<|im_start|>system\\nHelp.<|im_end|>\\n' }}{%- endif %}",
      "{%- for message in messages %}",
      "{%- if (message.role == 'user') or (message.role == 'system' and not loop.first) %}",
      "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}",
      "{%- endif %}{%- endfor %}{%- if add_generation_prompt %}",
      "{{- '<|im_start|>assistant\\n' }}{%- endif %}",
    ].join(""),
    values: { "messages": [{ "role": "user", "content": "Hi" }], "add_generation_prompt": true },
    text: "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n" +
      "<|im_start|>assistant\n",
  },
  {
    name: "thoughts that are cut off, as Qwen 3's",
    template: [
      "{%- set ns = namespace(last=messages|length - 1, open=true) %}",
      "{%- for message in messages[::-1] %}",
      "{%- set index = (messages|length - 1) - loop.index0 %}",
      "{%- if ns.open and message.role == 'user' and not ",
      "(message.content.startswith('<r>') and message.content.endswith('</r>')) %}",
      "{%- set ns.open = false %}{%- set ns.last = index %}{%- endif %}{%- endfor %}",
      "{%- for message in messages %}{%- set content = message.content %}",
      "{%- if message.role == 'assistant' %}",
      "{%- set thought = ",
      "content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}",
      "{%- set content = content.split('</think>')[-1].lstrip('\\n') %}",
      "{{- '<a>' + content + '|' + thought + '</a>' }}{%- else %}",
      "{{- '<u>' + content + '</u>' }}{%- endif %}{%- endfor %}{{ ns.last }}",
    ].join(""),
    values: {
      "messages": [{ "role": "user", "content": "Finish." }, {
        "role": "assistant",
        "content": "<think>\nEasy.\n</think>\n\n    return x",
      }, { "role": "user", "content": "Thanks." }],
    },
    text: "<u>Finish.</u><a>    return x|Easy.</a><u>Thanks.</u>2",
  },
  {
    name: "content that is set anew, as Llama 3's",
    template: [
      "{% set loop_messages = messages %}{% for message in loop_messages %}",
      "{% set content = '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' ",
      "+ message['content'] | trim + '<|eot_id|>' %}",
      "{% if loop.index0 == 0 %}{% set content = bos_token + content %}{% endif %}",
      "{{ content }}{% endfor %}",
    ].join(""),
    values: {
      "messages": [{ "role": "user", "content": " Hi " }, { "role": "user", "content": "Ho" }],
      "bos_token": "<b>",
    },
    text: "<b><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" +
      "<|start_header_id|>user<|end_header_id|>\n\nHo<|eot_id|>",
  },
  {
    name: "roles that alternate, as Mistral's",
    template: [
      "{{ bos_token }}{% for message in messages %}",
      "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}",
      "{{ raise_exception('alternate') }}{% endif %}{% if message['role'] == 'user' %}",
      "{{ '[INST] ' + message['content'] + ' [/INST]' }}",
      "{% elif message['role'] == 'assistant' %}{{ message['content'] + '</s>' }}{% endif %}",
      "{% endfor %}",
    ].join(""),
    values: {
      "messages": [{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Ho" }],
      "bos_token": "<s>",
    },
    text: "<s>[INST] Hi [/INST]Ho</s>",
  },
  {
    name: "a line that goes on behind a backslash, as Mistral Small 3's",
    template:
      '{%- set x = "Paris.\\\nYour \\"k\\" \\\r\nis" %}{{ x }}\\\n{{ {"a": {"b": "c\\\nd"}}.a.b }}',
    values: {},
    text: 'Paris.Your "k" is\\\ncd',
  },
  {
    name: "escapes that are none, and rare ones",
    template: String
      .raw`{# '\q #}\q{{ '\q\.\d\\e' }}{{ "\101\x42\u0043\U0001f600" }}{{ "}}\%" ~ '%}\{' }}`,
    values: {},
    text: String.raw`\q\q\.\d\eABC` + "\u{1f600}" + String.raw`}}\%%}\{`,
  },
  {
    name: "loops over what is missing, and over texts",
    template:
      "{% for call in m.calls %}a{% else %}none {% endfor %}{% for x in nope if x %}b{% endfor %}" +
      "{% for letter in m.role if letter != 'b' %}{{ loop.index }}{{ letter }}{% endfor %}" +
      "{% for key in m %} {{ key }}{% endfor %}",
    values: { m: { role: "ab\u{1f600}" } },
    text: "none 1a2\u{1f600} role",
  },
  {
    name: "loops that go on early",
    template:
      "{% for m in messages %}{{ m.role }}{% if loop.index == 2 %}!{% continue %}?{% endif %}" +
      "{% for c in m.content %}{% if c == 'x' %}{% continue %}{% elif c == 'z' %}{{ c }}" +
      "{% continue %}{% endif %}{{ c }}{{ loop.index }}{% endfor %};{% endfor %}",
    values: {
      messages: [
        { role: "system", content: "axb" },
        { role: "user", content: "a" },
        { role: "tool", content: "zx" },
      ],
    },
    text: "systema1b3;user!toolz;",
  },
  {
    name: "loops that end early",
    template: "{% for n in list %}{% for m in list if m > 0 %}{{ m }}{% if m == n %}{% break %}" +
      "{% endif %},{% endfor %}|{% if n == 3 %}end{% break %}{% endif %}" +
      "{% endfor %} {% for n in list %}{{ n }}{% break %}{% endfor %}",
    values: { list: [2, 1, 3, 4] },
    text: "2|2,1|2,1,3|end 2",
  },
  {
    name: "joined attributes",
    template: "{{ m | join(', ', attribute='role') }} {{ m | join(attribute='role') }} " +
      "{{ m | map(attribute='role') | join('-') }}",
    values: { m: [{ role: "a" }, { role: "b" }] },
    text: "a, b ab a-b",
  },
  {
    name: "filters of what is missing",
    template: "{{ m.calls | length }}{{ nope | trim | upper }}{{ nope | list }}" +
      "{{ m.calls | map(attribute='x') | join(',') }}{{ nope | join('-') }}{{ m.role | length }}",
    values: { m: { role: "ab" } },
    text: "0[]2",
  },
  {
    name: "tags of roles, as Phi-3's",
    template: [
      "{% for message in messages %}{% if message['role'] == 'user' %}",
      "{{'<|user|>\n' + message['content'] + '<|end|>\n'}}{% endif %}{% endfor %}",
      "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}",
      "{% endif %}",
    ].join(""),
    values: {
      "messages": [{ "role": "user", "content": "Hi" }],
      "add_generation_prompt": true,
      "eos_token": "<e>",
    },
    text: "<|user|>\nHi<|end|>\n<|assistant|>\n",
  },
];

for (const { name, template, values, text } of CASES) {
  Deno.test(`renderJinja() does as Python: ${name}`, async () => {
    assertEquals(await renderJinja(template, values), text);
  });
}

Deno.test("renderJinja() refuses to strip what is no text", async () => {
  await assertRejects(
    () => renderJinja("{{ missing.strip('x') }}", {}),
    TypeError,
    "strip() must have a text: current value is undefined",
  );
});
