/**
 * Writes a Llama model folder with random weights, for tests and for benchmarks of sizes that the
 * repository does not ship. The same seed gives the same bytes.
 *
 * Its text is noise; its shapes, dtypes and files are those of a real model.
 *
 * @module
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { errorText, EXIT_CODES, UsageError } from "../lib/errors.ts";
import { parseConfig } from "../lib/model/config.ts";
import { allWeights, type WeightSpec } from "../lib/model/model_shape.ts";
import { type ConfigValues, MODEL_CONFIGS, SHAPE_NAMES } from "../lib/model/shapes.ts";
import { normalNumber, uniformNumbers } from "../lib/random.ts";

/** What a random model is made of. */
export interface MakeModelOptions {
  /** The keys of its `config.json`, but for the dtype. */
  readonly config: ConfigValues;
  readonly dtype: "bf16" | "f16" | "f32";
  /** Files over which the weights are spread; 1 writes a single file without an index. */
  readonly shards: number;
  readonly seed: number;
  /** A folder whose `tokenizer.json` is copied. */
  readonly tokenizerFolder?: string;
}

const ELEMENT_BYTES = { bf16: 2, f16: 2, f32: 4 } as const;

/** Elements of the pool of normal numbers from which all weights are taken. */
const POOL_ELEMENTS = 1 << 20;
/** Elements taken from one place of the pool before the next random place is chosen. */
const RUN_ELEMENTS = 1 << 12;
/** What is written at once. */
const WRITE_BYTES = 1 << 23;

/**
 * Writes the model folder; only a few megabytes are in memory at any time.
 *
 * @param folder The folder; it is made if it is missing.
 * @param options Shape, dtype, number of files, seed.
 */
export async function makeModel(folder: string, options: MakeModelOptions): Promise<void> {
  const { config, dtype, shards, seed, tokenizerFolder } = options;
  await Deno.mkdir(folder, { recursive: true });
  await writeJson(join(folder, "config.json"), {
    ...config,
    torch_dtype: { bf16: "bfloat16", f16: "float16", f32: "float32" }[dtype],
  });
  if (tokenizerFolder !== undefined) {
    await Deno.copyFile(join(tokenizerFolder, "tokenizer.json"), join(folder, "tokenizer.json"));
  }
  const source = new WeightSource(dtype, seed);
  const groups = splitSpecs(allWeights(parseConfig(config, { path: folder })), shards);
  const weightMap: Record<string, string> = {};
  for (const [index, specs] of groups.entries()) {
    const number = (value: number) => String(value).padStart(5, "0");
    const name = shards === 1
      ? "model.safetensors"
      : `model-${number(index + 1)}-of-${number(groups.length)}.safetensors`;
    for (const spec of specs) weightMap[spec.name] = name;
    await writeSafetensors(join(folder, name), { specs, source, dtype });
  }
  if (shards > 1) {
    await writeJson(join(folder, "model.safetensors.index.json"), {
      metadata: {},
      weight_map: weightMap,
    });
  }
}

async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.writeTextFile(path, `${JSON.stringify(value, null, 2)}\n`);
}

function elementCount(spec: WeightSpec): number {
  return spec.shape.reduce((product, extent) => product * extent, 1);
}

/** Cuts the list into runs of about equal size, as transformers does with its shards. */
function splitSpecs(specs: readonly WeightSpec[], shards: number): WeightSpec[][] {
  const total = specs.reduce((sum, spec) => sum + elementCount(spec), 0);
  const groups: WeightSpec[][] = Array.from({ length: shards }, () => []);
  let before = 0;
  for (const spec of specs) {
    groups[Math.min(shards - 1, Math.floor(before / total * shards))]?.push(spec);
    before += elementCount(spec);
  }
  return groups.filter((group) => group.length > 0);
}

async function writeSafetensors(
  path: string,
  options: {
    specs: readonly WeightSpec[];
    source: WeightSource;
    dtype: MakeModelOptions["dtype"];
  },
): Promise<void> {
  const { specs, source, dtype } = options;
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  let end = 0;
  for (const { name, shape } of specs) {
    const begin = end;
    end += elementCount({ name, shape }) * ELEMENT_BYTES[dtype];
    header[name] = { dtype: dtype.toUpperCase(), shape, data_offsets: [begin, end] };
  }
  const json = JSON.stringify(header);
  const text = new TextEncoder().encode(json.padEnd(Math.ceil(json.length / 8) * 8));
  using file = await Deno.open(path, { write: true, create: true, truncate: true });
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.byteLength), true);
  await writeAll(file, length);
  await writeAll(file, text);
  const buffer = new Uint8Array(WRITE_BYTES);
  let used = 0;
  for (const spec of specs) {
    for (const part of source.parts(spec)) {
      if (used + part.byteLength > buffer.byteLength) {
        await writeAll(file, buffer.subarray(0, used));
        used = 0;
      }
      buffer.set(part, used);
      used += part.byteLength;
    }
  }
  await writeAll(file, buffer.subarray(0, used));
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) at += await file.write(bytes.subarray(at));
}

/** Random weights in a file's dtype. */
class WeightSource {
  readonly #dtype: MakeModelOptions["dtype"];
  readonly #random: () => number;
  readonly #pool: Float32Array;
  /** The pool in the file's dtype, by mean and standard deviation. */
  readonly #encoded = new Map<string, Uint8Array>();

  constructor(dtype: MakeModelOptions["dtype"], seed: number) {
    this.#dtype = dtype;
    this.#random = uniformNumbers(seed);
    this.#pool = Float32Array.from({ length: POOL_ELEMENTS }, () => normalNumber(this.#random));
  }

  /** A weight's bytes in pieces: matrices keep the size of their input, norms are near 1. */
  *parts(spec: WeightSpec): Generator<Uint8Array> {
    const inputs = spec.shape[1];
    const pool = inputs === undefined
      ? this.#encode({ mean: 1, deviation: 0.1 })
      : this.#encode({ mean: 0, deviation: 1 / Math.sqrt(inputs) });
    const size = ELEMENT_BYTES[this.#dtype];
    for (let left = elementCount(spec); left > 0; left -= RUN_ELEMENTS) {
      const count = Math.min(left, RUN_ELEMENTS);
      const start = Math.floor(this.#random() * (POOL_ELEMENTS - count));
      yield pool.subarray(start * size, (start + count) * size);
    }
  }

  #encode(shape: { mean: number; deviation: number }): Uint8Array {
    const key = `${shape.mean} ${shape.deviation}`;
    const known = this.#encoded.get(key);
    if (known !== undefined) return known;
    const values = this.#pool.map((value) => shape.mean + shape.deviation * value);
    const encoded = encodeFloats(values, this.#dtype);
    this.#encoded.set(key, encoded);
    return encoded;
  }
}

function encodeFloats(values: Float32Array, dtype: MakeModelOptions["dtype"]): Uint8Array {
  if (dtype === "f32") return new Uint8Array(values.buffer);
  if (dtype === "f16") return new Uint8Array(Float16Array.from(values).buffer);
  // bfloat16 is the upper half of a float32; adding 0x7fff and the lowest kept bit rounds to even.
  const bits = new Uint32Array(values.buffer);
  const rounded = Uint16Array.from(bits, (word) => (word + 0x7fff + ((word >>> 16) & 1)) >>> 16);
  return new Uint8Array(rounded.buffer);
}

const HELP = `Writes a Llama model folder with random weights.

Usage: deno run --allow-read --allow-write scripts/make_model.ts --output DIR [flags]

  --output DIR      folder to write
  --shape NAME      ${SHAPE_NAMES.join(", ")} (default small)
  --layers N        instead of the shape's own number
  --dtype TYPE      bf16, f16 or f32 (default bf16)
  --shards N        number of weight files (default 1)
  --seed N          default 1
  --tokenizer DIR   copies tokenizer.json from this folder
`;

/** The command line as {@linkcode makeModel} wants it; `undefined` asks for the help. */
function parseFlags(args: string[]): { output: string; options: MakeModelOptions } | undefined {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args,
    options: {
      output: text,
      shape: { ...text, default: "small" },
      layers: text,
      dtype: { ...text, default: "bf16" },
      shards: { ...text, default: "1" },
      seed: { ...text, default: "1" },
      tokenizer: text,
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) return undefined;
  const { output, shape, dtype, tokenizer } = values;
  const known = new Map<string, ConfigValues>(Object.entries(MODEL_CONFIGS)).get(shape);
  if (output === undefined) throw new UsageError("--output: a folder is needed");
  if (known === undefined) throw new UsageError(`--shape: ${shape} is not known`);
  if (dtype !== "bf16" && dtype !== "f16" && dtype !== "f32") {
    throw new UsageError(`--dtype: must be bf16, f16 or f32: current value is ${dtype}`);
  }
  const config = values.layers === undefined
    ? known
    : { ...known, num_hidden_layers: wholeFlag("--layers", { text: values.layers, max: 1000 }) };
  const shards = wholeFlag("--shards", { text: values.shards, max: 100 });
  const seed = wholeFlag("--seed", { text: values.seed, max: 2 ** 31 });
  const options: MakeModelOptions = { config, dtype, shards, seed };
  return {
    output,
    options: tokenizer === undefined ? options : { ...options, tokenizerFolder: tokenizer },
  };
}

function wholeFlag(flag: string, options: { text: string; max: number }): number {
  const value = Number(options.text);
  if (Number.isInteger(value) && value >= 1 && value <= options.max) return value;
  throw new UsageError(
    `${flag}: must be a whole number from 1 to ${options.max}: current value is ${options.text}`,
  );
}

async function main(): Promise<number> {
  try {
    const flags = parseFlags(Deno.args);
    if (flags === undefined) await Deno.stdout.write(new TextEncoder().encode(HELP));
    else await makeModel(flags.output, flags.options);
    return EXIT_CODES.done;
  } catch (error) {
    await Deno.stderr.write(new TextEncoder().encode(`make_model: ${errorText(error)}\n`));
    const isUsage = error instanceof UsageError || error instanceof TypeError;
    return isUsage ? EXIT_CODES.usage : EXIT_CODES.file;
  }
}

if (import.meta.main) Deno.exit(await main());
