/**
 * Shapes of models by name: published ones for benchmarks, and a small one for tests.
 *
 * Figures from the models' `config.json` on Hugging Face.
 *
 * @module
 */
import type { LlamaConfig } from "./config.ts";

const LLAMA3_SCALING = {
  kind: "llama3",
  factor: 32,
  lowFrequencyFactor: 1,
  highFrequencyFactor: 4,
  originalMaxPositions: 8192,
} as const;

const COMMON = {
  architecture: "LlamaForCausalLM",
  rmsNormEps: 1e-5,
  ropeScaling: undefined,
  tiedEmbeddings: true,
  bosTokenId: undefined,
  eosTokenIds: [],
} as const;

/** Shapes by name: published models', and a small one for tests. */
export const MODEL_SHAPES: Readonly<Record<string, LlamaConfig>> = {
  small: {
    ...COMMON,
    hiddenSize: 128,
    intermediateSize: 192,
    layerCount: 2,
    queryHeads: 4,
    kvHeads: 2,
    headDim: 64,
    vocabularySize: 4096,
    maxPositions: 4096,
    ropeTheta: 10000,
  },
  // HuggingFaceTB/SmolLM2-135M
  "135m": {
    ...COMMON,
    hiddenSize: 576,
    intermediateSize: 1536,
    layerCount: 30,
    queryHeads: 9,
    kvHeads: 3,
    headDim: 64,
    vocabularySize: 49152,
    maxPositions: 8192,
    ropeTheta: 100000,
  },
  "llama-3.2-1b": {
    ...COMMON,
    hiddenSize: 2048,
    intermediateSize: 8192,
    layerCount: 16,
    queryHeads: 32,
    kvHeads: 8,
    headDim: 64,
    vocabularySize: 128256,
    maxPositions: 131072,
    ropeTheta: 500000,
    ropeScaling: LLAMA3_SCALING,
  },
  "llama-3.1-8b": {
    ...COMMON,
    hiddenSize: 4096,
    intermediateSize: 14336,
    layerCount: 32,
    queryHeads: 32,
    kvHeads: 8,
    headDim: 128,
    vocabularySize: 128256,
    maxPositions: 131072,
    ropeTheta: 500000,
    ropeScaling: { ...LLAMA3_SCALING, factor: 8 },
    tiedEmbeddings: false,
  },
};
