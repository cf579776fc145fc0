/**
 * All families of models that can be loaded.
 *
 * @module
 */
import type { Family } from "./family.ts";
import { GRANITE } from "./granite.ts";
import { LLAMA } from "./llama.ts";
import { MISTRAL } from "./mistral.ts";
import { OLMO2 } from "./olmo2.ts";
import { PHI3 } from "./phi3.ts";
import { QWEN2 } from "./qwen2.ts";
import { QWEN3 } from "./qwen3.ts";
import { SMOLLM3 } from "./smollm3.ts";

export const FAMILIES: readonly Family[] = [
  LLAMA,
  MISTRAL,
  QWEN2,
  QWEN3,
  PHI3,
  SMOLLM3,
  GRANITE,
  OLMO2,
];
