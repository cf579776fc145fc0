import { FileError } from "../../lib/errors.ts";
import { modelDigest } from "../../lib/model/digest.ts";
import { parseSafetensors } from "../../lib/model/safetensors.ts";
import { listWeightFiles, openWeightFiles } from "../../lib/model/weight_files.ts";
import { MODEL_CONFIGS } from "../../lib/model/shapes.ts";
import { makeModel } from "../../scripts/make_model.ts";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "../helpers/assert.ts";

const TINY = new URL("../../models/starx-tiny", import.meta.url).pathname;

/** A file of this header text and so many zero bytes of data. */
function file(
  header: string,
  dataBytes: number,
  options: { length?: bigint } = {},
): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(header);
  const bytes = new Uint8Array(8 + text.byteLength + dataBytes);
  const length = options.length ?? BigInt(text.byteLength);
  new DataView(bytes.buffer).setBigUint64(0, length, true);
  bytes.set(text, 8);
  return bytes;
}

/** The JSON of one header entry. */
function entry(dtype: string, shape: unknown, offsets: unknown): string {
  return JSON.stringify({ dtype, shape, data_offsets: offsets });
}

/** Pads a header so that the data behind it starts at a multiple of 8. */
function aligned(header: string): string {
  return header.padEnd(Math.ceil(header.length / 8) * 8);
}

function parse(bytes: Uint8Array) {
  return parseSafetensors(bytes, { path: "w.safetensors" });
}

Deno.test("parseSafetensors() gives each tensor's place, in the order of the bytes", () => {
  const header = aligned(
    `{"b":${entry("BF16", [3], [16, 22])},"__metadata__":{"format":"pt"},` +
      `"a":${entry("F32", [2, 2], [0, 16])},"empty":${entry("F32", [0, 4], [0, 0])},` +
      `"scalar":${entry("U8", [], [22, 23])}}`,
  );
  const found = [...parse(file(header, 23)).values()];
  const start = 8 + header.length;
  assertEquals(found, [
    { name: "empty", dtype: "F32", shape: [0, 4], begin: start, end: start },
    { name: "a", dtype: "F32", shape: [2, 2], begin: start, end: start + 16 },
    { name: "b", dtype: "BF16", shape: [3], begin: start + 16, end: start + 22 },
    { name: "scalar", dtype: "U8", shape: [], begin: start + 22, end: start + 23 },
  ]);
});

Deno.test("parseSafetensors() reads bytes that start inside their buffer", () => {
  const whole = file(aligned(`{"a":${entry("U8", [4], [0, 4])}}`), 4);
  const shifted = new Uint8Array(whole.byteLength + 3);
  shifted.set(whole, 3);
  assertEquals(parse(shifted.subarray(3)), parse(whole));
});

const one = (dtype: string, shape: unknown, offsets: unknown) =>
  aligned(`{"a":${entry(dtype, shape, offsets)}}`);
const two = (first: unknown, second: unknown) =>
  aligned(`{"a":${entry("F32", [2], first)},"b":${entry("F32", [2], second)}}`);

const REFUSED: readonly (readonly [string, Uint8Array, string])[] = [
  ["the file is shorter than 8 bytes", new Uint8Array(5), "current value is 5 bytes in all"],
  [
    "the header is longer than the file",
    file("{}", 6, { length: 9n }),
    "Cannot read w.safetensors as its header may have at most 8 bytes: current value is 9",
  ],
  [
    "the header length is the largest one",
    file("{}", 0, { length: 2n ** 64n - 1n }),
    "current value is 18446744073709551615",
  ],
  ["the header is empty", file("", 0), "its header is not JSON"],
  ["the header is not JSON", file(`{"a":}`, 0), "its header is not JSON"],
  ["the header is not UTF-8", file("{}", 1, { length: 3n }).fill(0xff, 8), "is not JSON"],
  ["the header is an array", file("[1]", 0), "must be a JSON object: current value is [1]"],
  [
    "a name stands twice",
    file(aligned(`{"a":${entry("U8", [1], [0, 1])},"\\u0061":${entry("U8", [1], [1, 2])}}`), 2),
    `a tensor's name must stand once in its header: "a" stands twice`,
  ],
  ["an entry is no object", file(`{"a":7}`, 0), "an object in the header: current value is 7"],
  ["the dtype is unknown", file(one("F31", [1], [0, 4]), 4), `current value is "F31"`],
  ["the dtype is a property of objects", file(one("toString", [1], [0, 4]), 4), "a dtype of BOOL"],
  ["the shape is negative", file(one("F32", [-1], [0, 4]), 4), "a shape of at most 8"],
  ["the shape is fractional", file(one("F32", [1.5], [0, 6]), 6), "current value is [1.5]"],
  ["the shape is missing", file(one("F32", undefined, [0, 4]), 4), "current value is missing"],
  ["the rank is absurd", file(one("F32", Array(9).fill(1), [0, 4]), 4), "an array of 9"],
  ["the offsets are no pair", file(one("F32", [1], [0]), 4), "data_offsets of two whole numbers"],
  ["the offsets fall", file(one("F32", [1], [4, 0]), 4), "data_offsets in rising order"],
  [
    "the offsets lie beyond the file",
    file(one("F32", [2], [0, 8]), 7),
    `tensor "a" must have data_offsets within the file's 7 bytes of data: current value is [0, 8]`,
  ],
  [
    "the offsets do not match shape and dtype",
    file(one("F32", [3], [0, 8]), 8),
    `tensor "a" must have 12 bytes for F32 [3]: current value is 8`,
  ],
  [
    "the shape's product overflows",
    file(one("F32", [2 ** 40, 2 ** 40], [0, 8]), 8),
    "current value is 8",
  ],
  ["tensors overlap", file(two([0, 8], [4, 12]), 12), `must begin where "a" ends, at byte`],
  ["tensors leave a hole", file(two([0, 8], [12, 20]), 20), `must begin where "a" ends, at byte`],
  ["bytes stand before the first", file(one("F32", [1], [4, 8]), 8), "where the header ends"],
  ["bytes follow the last", file(one("F32", [1], [0, 4]), 9), "must end behind its last tensor"],
];

for (const [criterion, bytes, message] of REFUSED) {
  Deno.test(`parseSafetensors() throws if ${criterion}`, () => {
    const error = assertThrows(() => parse(bytes), FileError, message);
    assert(error.message.includes("w.safetensors"), error.message);
  });
}

Deno.test("parseSafetensors() knows the pointer that git leaves in place of a large file", () => {
  const text = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 988097824\n";
  assertThrows(
    () => parse(new TextEncoder().encode(text)),
    FileError,
    "Cannot read w.safetensors: it is a Git LFS pointer, not the file itself",
  );
});

Deno.test("parseSafetensors() is not misled by braces and quotes inside of names", () => {
  const names = ['x"}{', "a\\", '{"a":', "a"];
  const text = names.map((name, index) =>
    `${JSON.stringify(name)} :${entry("U8", [1], [index, index + 1])}`
  );
  assertEquals([...parse(file(`{${text.join(", ")}}`, 4)).keys()], names);
});

/** Runs `body` with a folder of a small random model over `shards` files. */
async function withModel(
  options: { shards: number; dtype?: "bf16" | "f16" | "f32" },
  body: (folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const config = MODEL_CONFIGS.small;
    assert(config !== undefined);
    const { shards, dtype = "bf16" } = options;
    await makeModel(folder, { config, dtype, shards, seed: 3, tokenizerFolder: TINY });
    await body(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function editIndex(
  folder: string,
  edit: (map: Record<string, unknown>) => void,
): Promise<void> {
  const path = `${folder}/model.safetensors.index.json`;
  const index = JSON.parse(await Deno.readTextFile(path));
  edit(index.weight_map);
  await Deno.writeTextFile(path, JSON.stringify(index));
}

Deno.test("openWeightFiles() maps the model that the repository ships", async () => {
  using files = await openWeightFiles(TINY);
  assertEquals(files.entries.size, 6 * 9 + 2);
  const { shape, dtype, begin, end } = files.entries.get("model.embed_tokens.weight") ?? {};
  assertEquals({ shape, dtype }, { shape: [4096, 256], dtype: "BF16" });
  assertEquals((end ?? 0) - (begin ?? 0), 4096 * 256 * 2);
});

Deno.test("openWeightFiles() gathers the tensors of all shards", async () => {
  await withModel({ shards: 3 }, async (folder) => {
    using files = await openWeightFiles(folder);
    assertEquals(files.paths.length, 3);
    assertEquals(files.entries.size, 2 * 9 + 2);
    assertEquals(new Set([...files.entries.values()].map(({ path }) => path)).size, 3);
  });
});

Deno.test("openWeightFiles() throws if there is no weight file", async () => {
  await withModel({ shards: 1 }, async (folder) => {
    await Deno.remove(`${folder}/model.safetensors`);
    await assertRejects(
      () => openWeightFiles(folder),
      FileError,
      `${folder} holds neither model.safetensors nor model.safetensors.index.json`,
    );
  });
});

Deno.test("openWeightFiles() throws if a shard is missing", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    await Deno.remove(`${folder}/model-00002-of-00002.safetensors`);
    await assertRejects(() => openWeightFiles(folder), FileError, "model-00002-of-00002");
  });
});

Deno.test("openWeightFiles() throws if a shard lacks a tensor of the index", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    await editIndex(folder, (map) => map["extra.weight"] = "model-00001-of-00002.safetensors");
    await assertRejects(
      () => openWeightFiles(folder),
      FileError,
      `model-00001-of-00002.safetensors must hold tensor "extra.weight"`,
    );
  });
});

Deno.test("openWeightFiles() finds what the index of another sharding places elsewhere", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    const places = async () => {
      using files = await openWeightFiles(folder);
      return [...files.entries].map(([name, { path, begin }]) => `${name} ${path} ${begin}`).sort();
    };
    const expected = await places();
    await editIndex(folder, (map) => {
      for (const [name, shard] of Object.entries(map)) {
        map[name] = String(shard).replace(
          /0000[12]-of/,
          (part) => part === "00001-of" ? "00002-of" : "00001-of",
        );
      }
      delete map["model.norm.weight"];
    });
    assertEquals(await places(), expected);
  });
});

Deno.test("openWeightFiles() needs no buffers that an older index places in a shard", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    await editIndex(folder, (map) => {
      for (const name of ["model.layers.0.self_attn.rotary_emb.inv_freq", "position_ids"]) {
        map[name] = "model-00001-of-00002.safetensors";
      }
    });
    using files = await openWeightFiles(folder);
    assertEquals(files.entries.size, 2 * 9 + 2);
  });
});

Deno.test("listWeightFiles() throws if the index leads out of the folder", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    const names = ["../x.safetensors", "/x.safetensors", "a\\x.safetensors", "..", 5];
    for (const name of names) {
      await editIndex(folder, (map) => map["model.norm.weight"] = name);
      await assertRejects(
        () => listWeightFiles(folder),
        FileError,
        `the shard of tensor "model.norm.weight" must be a plain name`,
      );
    }
    await Deno.writeTextFile(`${folder}/model.safetensors.index.json`, "{}");
    await assertRejects(() => listWeightFiles(folder), FileError, "'weight_map' must be an object");
  });
});

Deno.test("makeModel() gives the same bytes for the same seed", async () => {
  await withModel({ shards: 1, dtype: "f16" }, async (first) => {
    await withModel({ shards: 1, dtype: "f16" }, async (second) => {
      const name = "model.safetensors";
      assertEquals(
        await Deno.readFile(`${first}/${name}`),
        await Deno.readFile(`${second}/${name}`),
      );
    });
  });
});

Deno.test("modelDigest() changes with every file that it covers", async () => {
  await withModel({ shards: 2 }, async (folder) => {
    const seen = new Set([await modelDigest(folder)]);
    assertEquals(await modelDigest(folder), [...seen][0]);
    for (const name of [...Deno.readDirSync(folder)].map((file) => file.name)) {
      if (name.endsWith(".index.json")) continue;
      const bytes = await Deno.readFile(`${folder}/${name}`);
      const at = bytes.byteLength - 2;
      bytes[at] = (bytes[at] ?? 0) ^ 1;
      await Deno.writeFile(`${folder}/${name}`, bytes);
      seen.add(await modelDigest(folder));
    }
    assertEquals(seen.size, 5);
  });
});

Deno.test("modelDigest() sees a change in both edges and a shift of a large file", async () => {
  await withModel({ shards: 1 }, async (folder) => {
    const path = `${folder}/model.safetensors`;
    const large = new Uint8Array(20 << 20).map((_, index) => (index * 2654435761) >>> 24);
    await Deno.writeFile(path, large);
    const before = await modelDigest(folder);
    for (const at of [0, (1 << 20) - 1, large.byteLength - 1]) {
      await Deno.writeFile(path, large.with(at, (large[at] ?? 0) ^ 1));
      assertNotEquals(await modelDigest(folder), before);
    }
    await Deno.writeFile(path, large.subarray(0, large.byteLength - 1));
    assertNotEquals(await modelDigest(folder), before);
  });
});

Deno.test("modelDigest() throws if the tokenizer is missing", async () => {
  await withModel({ shards: 1 }, async (folder) => {
    await Deno.remove(`${folder}/tokenizer.json`);
    const error = await assertRejects(() => modelDigest(folder), FileError, "tokenizer.json");
    assertInstanceOf(error.cause, Deno.errors.NotFound);
  });
});
