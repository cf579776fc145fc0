/**
 * All families of models that can be loaded.
 *
 * @module
 */
import type { Family } from "./family.ts";
import { LLAMA } from "./llama.ts";

export const FAMILIES: readonly Family[] = [LLAMA];
