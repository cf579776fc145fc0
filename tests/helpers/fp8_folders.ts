/**
 * Makes folders whose weights are in e4m3, in the forms in which others write them: `NAME.weight` F8_E4M3
 * and `NAME.weight_scale`, one for each row.
 *
 * @module
 */
import { e4m3Code } from "../../lib/device/e4m3.ts";
import { elementsToFloats, floatsToElements } from "../../lib/device/elements.ts";
import { readWeights, type TensorBytes, writeWeights } from "./safetensors.ts";

/** As `quantization_config`. */
export type Fp8Config = Readonly<Record<string, unknown>>;

/** What vLLM's compressor writes. @param ignore Modules that stay as they are. */
export function compressedFp8(ignore: readonly string[] = ["lm_head"]): Fp8Config {
  const numbers = { num_bits: 8, symmetric: true, type: "float" };
  return {
    config_groups: {
      group_0: {
        input_activations: { ...numbers, dynamic: true, strategy: "token", observer: null },
        output_activations: null,
        targets: ["Linear"],
        weights: { ...numbers, dynamic: false, strategy: "channel", observer: "minmax" },
      },
    },
    format: "float-quantized",
    ignore,
    kv_cache_scheme: null,
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
  };
}

/** What transformers writes for FBGEMM. */
export function fbgemmFp8(modules: readonly string[] = ["lm_head"]): Fp8Config {
  return {
    activation_scale_ub: 1200,
    modules_to_not_convert: modules,
    quant_method: "fbgemm_fp8",
  };
}

/** How a folder is made. */
export interface Fp8FolderOptions {
  readonly config: Fp8Config;
  /** What scales are rounded to. @default {"F32"} */
  readonly scales?: "F32" | "BF16";
  /** Names of matrices that stay as they are, besides embedding and head. */
  readonly ignored?: RegExp;
  /** Changes the codes of a matrix. */
  readonly change?: (name: string, codes: Uint8Array) => void;
}

/** Writes a folder like another one of a single file in bf16, its layers' matrices in e4m3. */
export async function writeFp8Folder(
  source: string,
  target: string,
  options: Fp8FolderOptions,
): Promise<void> {
  const { config: quantization, scales = "F32", ignored, change } = options;
  const { header, data } = await readWeights(`${source}/model.safetensors`);
  const tensors = new Map<string, TensorBytes>();
  for (const [name, { dtype, shape, data_offsets: [begin, end] }] of Object.entries(header)) {
    const bytes = data.slice(begin, end);
    if (!/_proj\.weight$/.test(name) || ignored?.test(name) === true) {
      tensors.set(name, { dtype, shape, bytes });
      continue;
    }
    const [rows = 0, columns = 0] = shape;
    const { codes, factors } = roundRows(elementsToFloats(bytes, "bf16"), columns);
    change?.(name, codes);
    const scaleBytes = floatsToElements(factors, scales === "F32" ? "f32" : "bf16");
    tensors.set(name, { dtype: "F8_E4M3", shape, bytes: codes });
    tensors.set(`${name}_scale`, { dtype: scales, shape: [rows, 1], bytes: scaleBytes.slice() });
  }
  await Deno.mkdir(target, { recursive: true });
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) {
    await Deno.copyFile(`${source}/${file}`, `${target}/${file}`).catch(() => {});
  }
  const config = JSON.parse(await Deno.readTextFile(`${source}/config.json`));
  const text = JSON.stringify({ ...config, quantization_config: quantization });
  await Deno.writeTextFile(`${target}/config.json`, text);
  await writeWeights(`${target}/model.safetensors`, tensors);
}

/** Each row by its largest magnitude, which becomes 448. */
function roundRows(
  values: Float32Array,
  columns: number,
): { codes: Uint8Array<ArrayBuffer>; factors: Float32Array<ArrayBuffer> } {
  const codes = new Uint8Array(values.length);
  const factors = new Float32Array(values.length / columns);
  for (let row = 0; row < factors.length; row++) {
    const own = values.subarray(row * columns, (row + 1) * columns);
    const largest = own.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    if (largest === 0) continue;
    factors[row] = Math.fround(largest / 448);
    const inverse = Math.fround(448 / largest);
    codes.set(Array.from(own, (value) => e4m3Code(Math.fround(value * inverse))), row * columns);
  }
  return { codes, factors };
}
