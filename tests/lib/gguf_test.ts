/**
 * Headers of GGUF files: what is read of them, and how damaged ones are refused.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { readConfig } from "../../lib/model/config.ts";
import { locateTensors, parseGguf } from "../../lib/model/gguf/header.ts";
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { openWeightFiles } from "../../lib/model/weight_files.ts";
import {
  encodeTensor,
  type GgufPair,
  type GgufTensor,
  writeGgufFile,
} from "../../scripts/gguf_file.ts";
import { writeGguf } from "../../scripts/gguf.ts";
import { makeModel } from "../../scripts/make_model.ts";
import { assert, assertEquals, assertRejects, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { GGUF_CONFIGS } from "../../scripts/gguf_cases.ts";
import { Random } from "../helpers/random.ts";

const KEYS: readonly GgufPair[] = [
  ["general.architecture", "text", "llama"],
  ["llama.block_count", "u32", 2],
  ["llama.rms", "f32", 1e-5],
  ["llama.flag", "bool", true],
  ["names", "texts", ["a", "", "\u2581b"]],
  ["numbers", "i32s", [-1, 7]],
  ["scores", "f32s", [0, -0.5]],
];

function tensor(
  name: string,
  shape: readonly number[],
  type: GgufTensor["type"] = "f32",
): GgufTensor {
  const count = shape.reduce((product, extent) => product * extent, 1);
  const floats = Float32Array.from({ length: count }, (_, i) => i);
  return { name, shape, type, bytes: () => encodeTensor(floats, type) };
}

const TENSORS = [tensor("first", [3, 5]), tensor("second", [2, 32], "q8_0"), tensor("third", [4])];

async function fileWith(
  pairs: readonly GgufPair[] = KEYS,
  tensors: readonly GgufTensor[] = TENSORS,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = await Deno.makeTempFile();
  try {
    await writeGgufFile(path, { pairs, tensors });
    return await Deno.readFile(path);
  } finally {
    await Deno.remove(path);
  }
}

const path = "m.gguf";

function parse(bytes: Uint8Array<ArrayBuffer>) {
  const header = parseGguf(bytes, { path });
  assert(header !== undefined, "a whole file has its header");
  return header;
}

Deno.test("parseGguf() reads keys of all kinds and the tensors' places", async () => {
  const header = parse(await fileWith());
  const { metadata } = header;
  assertEquals(metadata.text("general.architecture"), "llama");
  assertEquals(metadata.required("llama.block_count"), 2);
  assertEquals(metadata.number("llama.rms"), 1e-5);
  assertEquals(metadata.flag("llama.flag"), true);
  assertEquals(metadata.array("names")?.strings(), ["a", "", "\u2581b"]);
  assertEquals(metadata.array("numbers")?.numbers(), [-1, 7]);
  assertEquals(metadata.array("scores")?.numbers(), [0, -0.5]);
  const { dataBegin } = header;
  assertEquals(locateTensors(header), [
    { name: "first", shape: [3, 5], dtype: "F32", begin: dataBegin, end: dataBegin + 60 },
    { name: "second", shape: [2, 32], dtype: "Q8_0", begin: dataBegin + 64, end: dataBegin + 132 },
    { name: "third", shape: [4], dtype: "F32", begin: dataBegin + 160, end: dataBegin + 176 },
  ]);
});

Deno.test("parseGguf() asks for more of a file, and refuses one that ends too early", async () => {
  const bytes = await fileWith();
  const header = parse(bytes);
  const { dataBegin } = header;
  const dataEnd = locateTensors(header).at(-1)?.end ?? 0;
  for (let length = 0; length < dataEnd; length++) {
    const part = bytes.slice(0, length);
    const found = parseGguf(part, { path, fileBytes: bytes.length });
    if (found === undefined) assert(length < dataBegin);
    assertThrows(() => locateTensors(parse(part)), FileError, "m.gguf");
  }
});

/** A change of the bytes at the place of a text, and what the line says. */
const DAMAGES: readonly (readonly [
  fault: string,
  change: (view: DataView, at: (text: string) => number) => void,
  line: string,
])[] = [
  ["another magic", (view) => view.setUint8(0, 0x67), `must begin with "GGUF"`],
  ["version 1", (view) => view.setUint32(4, 1, true), "version must be 2 or 3: current value is 1"],
  ["big-endian", (view) => view.setUint32(4, 3, false), "the file is big-endian"],
  [
    "too many tensors",
    (view) => view.setBigUint64(8, 2n ** 40n, true),
    "tensors: current value is",
  ],
  ["too many keys", (view) => view.setBigUint64(16, 2n ** 63n, true), "keys: current value is"],
  [
    "a long string",
    (view, at) => view.setBigUint64(at("general.architecture") + 24, 2n ** 62n, true),
    "the file ends at byte",
  ],
  [
    "an unknown type",
    (view, at) => view.setUint32(at("llama.rms") + 9, 13, true),
    `the value of "llama.rms" must be of a type from 0 to 12: current value is 13`,
  ],
  [
    "an array of arrays",
    (view, at) => view.setUint32(at("numbers") + 11, 9, true),
    `the value of "numbers" must be an array of numbers or texts: current value is of type 9`,
  ],
  [
    "a long array",
    (view, at) => view.setBigUint64(at("numbers") + 15, 2n ** 50n, true),
    `the value of "numbers" needs`,
  ],
  [
    "a long array of texts",
    (view, at) => view.setBigUint64(at("names") + 13, 2n ** 50n, true),
    `items in the value of "names"`,
  ],
  [
    "no UTF-8",
    (view, at) => view.setUint8(at("llama.rms"), 0xff),
    "the name of key 2 is not UTF-8",
  ],
  [
    "rank 5",
    (view, at) => view.setUint32(at("first") + 5, 5, true),
    `the rank of tensor "first" must be from 1 to 4: current value is 5`,
  ],
  [
    "an extent of 0",
    (view, at) => view.setBigUint64(at("first") + 9, 0n, true),
    `the shape of tensor "first" must be made of whole numbers above 0: current value is [0, 3]`,
  ],
  [
    "a huge extent",
    (view, at) => view.setBigUint64(at("first") + 9, 2n ** 50n, true),
    `tensor "first" needs`,
  ],
  [
    "Q4_K",
    (view, at) => view.setUint32(at("first") + 25, 12, true),
    `tensor "first" must be one of F32, F16, BF16, Q8_0: current value is Q4_K`,
  ],
  [
    "rows of half a block",
    (view, at) => view.setUint32(at("first") + 25, 8, true),
    `the rows of tensor "first", which is Q8_0, must have a multiple of 32 elements`,
  ],
  [
    "a vector in Q8_0",
    (view, at) => view.setUint32(at("third") + 17, 8, true),
    `tensor "third" is a vector: it must not be Q8_0`,
  ],
  [
    "an overlap",
    (view, at) => view.setBigUint64(at("second") + 30, 32n, true),
    `tensor "second" must begin at byte 64 of the data, behind the tensor before it: current value is 32`,
  ],
  [
    "an offset outside",
    (view, at) => view.setBigUint64(at("third") + 21, 2n ** 60n, true),
    `tensor "third" must begin at byte 160`,
  ],
];

for (const [fault, change, line] of DAMAGES) {
  Deno.test(`a GGUF file with ${fault} is refused by name`, async () => {
    const bytes = await fileWith();
    const text = new TextDecoder("latin1").decode(bytes);
    change(new DataView(bytes.buffer), (name) => text.indexOf(name));
    const error = assertThrows(() => locateTensors(parse(bytes)), FileError, line);
    assertEquals(error.message.split("\n").length, 1);
  });
}

Deno.test("keys, tensors and alignment are checked", async () => {
  const twice: GgufPair = ["llama.flag", "bool", false];
  const doubled = await fileWith([...KEYS, twice]);
  assertThrows(() => parse(doubled), FileError, `"llama.flag" stands twice`);
  const tensors = await fileWith(KEYS, [...TENSORS, tensor("first", [1])]);
  assertThrows(() => parse(tensors), FileError, `tensor "first" stands twice`);
  for (const alignment of [0, 24, 2 ** 21]) {
    const bytes = await fileWith([...KEYS, ["general.alignment", "u32", alignment]]);
    assertThrows(
      () => parse(bytes),
      FileError,
      "'general.alignment' in m.gguf must be a power of two",
    );
  }
  const pointer = new TextEncoder().encode("version https://git-lfs.github.com/spec/v1\noid");
  assertThrows(() => parse(pointer), FileError, "Git LFS pointer");
});

Deno.test("random damage to a header is refused as a file's fault, or changes a value", async () => {
  const bytes = await fileWith();
  const { dataBegin } = parse(bytes);
  const random = new Random(5);
  let refused = 0;
  for (let round = 0; round < 2000; round++) {
    const damaged = bytes.slice();
    for (let i = 0; i < 3; i++) {
      damaged[random.below(dataBegin)] = random.below(256);
    }
    try {
      locateTensors(parse(damaged));
    } catch (error) {
      assert(error instanceof FileError, String(error));
      refused++;
    }
  }
  assert(refused > 1000, `${refused} of 2000 were refused`);
});

/** Runs with the keys and tensors of a small model, for files that differ in some. */
async function withModel(use: (folder: string) => Promise<void>): Promise<void> {
  await inFolder({}, async (folder) => {
    const config = GGUF_CONFIGS.llama ?? {};
    await makeModel(folder, { config, dtype: "f32", shards: 1, seed: 1 });
    await use(folder);
  });
}

/** Key and value that a model's file must not have, and the line about it. */
const METADATA: readonly (readonly [pair: GgufPair, line: string])[] = [
  [["llama.expert_count", "u32", 8], "'llama.expert_count' in"],
  [["llama.attention.value_length", "u32", 16], "stands twice"],
  [["llama.attention.causal", "bool", false], "'llama.attention.causal' in"],
  [["llama.logit_scale", "f32", 8], "'llama.logit_scale' in"],
  [["llama.rope.scaling.type", "text", "spiral"], `must be one of "none", "linear", "yarn"`],
  [["general.type", "text", "adapter"], "'general.type' in"],
  [["llama.rope.scaling.factor", "f32", 4], `"rope_freqs.weight" in`],
];

for (const [pair, line] of METADATA) {
  Deno.test(`a GGUF file with ${pair[0]} ${pair[2]} is refused by name`, async () => {
    await withModel(async (folder) => {
      const file = `${folder}/model.gguf`;
      await writeGguf(file, folder, { vocabulary: [pair] });
      await assertRejects(() => readConfig(file), FileError, line);
    });
  });
}

Deno.test("a scaling of one's own stands in place of a GGUF file's divisors", async () => {
  await withModel(async (folder) => {
    const file = `${folder}/model.gguf`;
    await writeGguf(file, folder);
    const kindOf = async (ropeScaling?: Record<string, unknown>) =>
      (await readConfig(file, { ropeScaling })).ropes[0]?.scaling?.kind;
    assertEquals(await kindOf(), "factors");
    assertEquals(await kindOf({ rope_type: "linear", factor: 2 }), "linear");
  });
});

Deno.test("missing keys and tensors, and other architectures, are refused by the file's names", async () => {
  await inFolder({}, async (folder) => {
    const file = `${folder}/model.gguf`;
    const write = (pairs: readonly GgufPair[], tensors: readonly GgufTensor[]) =>
      writeGgufFile(file, { pairs, tensors });
    await write([["general.architecture", "text", "mamba"]], []);
    await assertRejects(() => readConfig(file), FileError, "one of llama, qwen2, qwen3, phi3");
    await write([["general.architecture", "text", "llama"]], []);
    await assertRejects(() => readConfig(file), FileError, "'llama.attention.head_count' in");
    await write([["general.architecture", "text", "llama"]], [tensor("blk.0.ssm.weight", [1])]);
    await assertRejects(() => openWeightFiles(file), FileError, `no tensor "blk.0.ssm.weight"`);
    assertEquals(await findModelFolder("models/none.gguf"), "models/none.gguf");
    await assertRejects(() => readConfig(`${folder}/none.gguf`), FileError, "does not exist");
  });
});

Deno.test("a model in several GGUF files is read from the first one", async () => {
  await inFolder({}, async (folder) => {
    const part = (number: number) => `${folder}/m-0000${number}-of-00002.gguf`;
    const keys = (number: number): GgufPair[] => [
      ["split.no", "u32", number - 1],
      ["split.count", "u32", 2],
    ];
    const architecture: GgufPair[] = [
      ["general.architecture", "text", "qwen2"],
    ];
    const first = [tensor("token_embd.weight", [4, 2])];
    const second = [tensor("output_norm.weight", [2])];
    await writeGgufFile(part(1), { pairs: [...architecture, ...keys(1)], tensors: first });
    await assertRejects(() => openWeightFiles(part(1)), FileError, "m-00002-of-00002.gguf");
    await writeGgufFile(part(2), { pairs: keys(2), tensors: second });
    {
      using files = await openWeightFiles(part(1));
      assertEquals([...files.entries.keys()], ["model.embed_tokens.weight", "model.norm.weight"]);
      assertEquals(files.paths, [part(1), part(2)]);
    }
    const rejected = () => openWeightFiles(part(2));
    await assertRejects(rejected, FileError, "it is m-00001-of-00002.gguf");
    await writeGgufFile(part(2), { pairs: keys(1), tensors: second });
    await assertRejects(() => openWeightFiles(part(1)), FileError, "'split.no'");
    await writeGgufFile(part(2), { pairs: keys(2), tensors: first });
    await assertRejects(() => openWeightFiles(part(1)), FileError, "stands twice");
    await Deno.rename(part(1), `${folder}/m.gguf`);
    await assertRejects(() => openWeightFiles(`${folder}/m.gguf`), FileError, "must be named");
  });
});
