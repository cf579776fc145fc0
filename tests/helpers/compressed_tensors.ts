/**
 * Makes folders whose weights are in 8 bits, as `compressed-tensors` writes w8a8: `NAME.weight` I8 and
 * `NAME.weight_scale`, one for each row.
 *
 * @module
 */
import { elementsToFloats, floatsToElements } from "../../lib/device/elements.ts";
import { readWeights, type TensorBytes, writeWeights } from "./safetensors.ts";

/** `quantization_config` as the compressor writes it. */
export const COMPRESSED = {
  config_groups: {
    group_0: {
      input_activations: {
        ...{ actorder: null, block_structure: null, dynamic: true, group_size: null },
        ...{ num_bits: 8, observer: null, observer_kwargs: {}, strategy: "token" },
        ...{ symmetric: true, type: "int" },
      },
      output_activations: null,
      targets: ["Linear"],
      weights: {
        ...{ actorder: null, block_structure: null, dynamic: false, group_size: null },
        ...{ num_bits: 8, observer: "minmax", observer_kwargs: {}, strategy: "channel" },
        ...{ symmetric: true, type: "int" },
      },
    },
  },
  format: "int-quantized",
  global_compression_ratio: 1.2,
  ignore: ["lm_head"],
  kv_cache_scheme: null,
  quant_method: "compressed-tensors",
  quantization_status: "compressed",
} as const;

/** How a folder is made. */
export interface CompressedOptions {
  /** What scales are rounded to. */
  readonly scales: "F32" | "BF16";
  /** Names of matrices that stay as they are, besides embedding and head. */
  readonly ignored?: RegExp;
}

/** Writes a folder like another one of a single file in bf16, its layers' matrices in 8 bits. */
export async function compressModel(
  source: string,
  target: string,
  options: CompressedOptions,
): Promise<void> {
  const { scales, ignored } = options;
  const { header, data } = await readWeights(`${source}/model.safetensors`);
  const tensors = new Map<string, TensorBytes>();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    const bytes = data.slice(begin, end);
    const isKept = !/_proj\.weight$/.test(name) || ignored?.test(name) === true;
    if (isKept) {
      tensors.set(name, { dtype, shape, bytes });
      continue;
    }
    const [rows = 0, columns = 0] = shape;
    const { numbers, factors } = roundRows(elementsToFloats(bytes, "bf16"), columns);
    const scaleBytes = floatsToElements(factors, scales === "F32" ? "f32" : "bf16");
    tensors.set(name, { dtype: "I8", shape, bytes: new Uint8Array(numbers.buffer) });
    tensors.set(`${name}_scale`, { dtype: scales, shape: [rows, 1], bytes: scaleBytes.slice() });
  }
  await Deno.mkdir(target, { recursive: true });
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${source}/${file}`, `${target}/${file}`).catch(() => {});
  }
  const config = JSON.parse(await Deno.readTextFile(`${source}/config.json`));
  const text = JSON.stringify({ ...config, quantization_config: COMPRESSED });
  await Deno.writeTextFile(`${target}/config.json`, text);
  await writeWeights(`${target}/model.safetensors`, tensors);
}

/** Each row by its largest magnitude, to -127 to 127, halves to even numbers. */
function roundRows(
  values: Float32Array,
  columns: number,
): { numbers: Int8Array<ArrayBuffer>; factors: Float32Array<ArrayBuffer> } {
  const numbers = new Int8Array(values.length);
  const factors = new Float32Array(values.length / columns);
  for (let row = 0; row < factors.length; row++) {
    const own = values.subarray(row * columns, (row + 1) * columns);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest === 0) continue;
    factors[row] = Math.fround(largest / 127);
    const inverse = Math.fround(127 / largest);
    for (const [i, value] of own.entries()) {
      numbers[row * columns + i] = roundToEven(Math.fround(value * inverse));
    }
  }
  return { numbers, factors };
}

function roundToEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
