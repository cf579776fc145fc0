/**
 * The types of a GGUF file's tensors, by their numbers in ggml's `enum ggml_type`.
 *
 * @module
 */

/** How elements lie in a tensor whose type is read. */
export interface GgufTensorType {
  readonly name: GgufDtype;
  /** Elements that are stored together; rows are made of whole blocks. */
  readonly blockElements: number;
  readonly blockBytes: number;
}

/** A type that is read. */
export type GgufDtype = "F32" | "F16" | "BF16" | "Q8_0";

const READ_TYPES: ReadonlyMap<number, GgufTensorType> = new Map([
  [0, { name: "F32", blockElements: 1, blockBytes: 4 }],
  [1, { name: "F16", blockElements: 1, blockBytes: 2 }],
  [30, { name: "BF16", blockElements: 1, blockBytes: 2 }],
  // A scale in f16, then 32 whole numbers of one byte.
  [8, { name: "Q8_0", blockElements: 32, blockBytes: 34 }],
]);

/** What is read, for messages. */
export const READ_TYPE_NAMES = [...READ_TYPES.values()].map(({ name }) => name).join(", ");

/** Names of the others, so that a message can tell which one it is. */
const OTHER_TYPES: Readonly<Record<number, string>> = {
  ...{ 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K" },
  ...{ 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS" },
  ...{ 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS" },
  ...{ 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 34: "TQ1_0" },
  ...{ 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0", 42: "Q2_0" },
};

/** How a type is stored; undefined for one that is not read. */
export function tensorType(type: number): GgufTensorType | undefined {
  return READ_TYPES.get(type);
}

/** The name of any type. */
export function typeName(type: number): string {
  return READ_TYPES.get(type)?.name ?? OTHER_TYPES[type] ?? `the unknown type ${type}`;
}
