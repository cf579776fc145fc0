/**
 * StarX: language models over long contexts, with Star Attention and antidiagonal block selection.
 *
 * @module
 */
export {
  ATTENTION_MODES,
  type AttentionMode,
  type BlockCut,
  type CHECKED,
  type CheckedPlan,
  checkPlan,
  type ContextCut,
  type MergeRule,
  type Plan,
  type PlanOptions,
  type TileSelection,
} from "./lib/attention/plan.ts";
export type { DecodeKeep } from "./lib/attention/decode_keep.ts";
export type { RestRule } from "./lib/attention/rest.ts";
export type {
  ShareThreshold,
  Threshold,
  ThresholdTable,
  TileRule,
} from "./lib/attention/thresholds.ts";
export {
  DeviceError,
  EXIT_CODES,
  FileError,
  KernelError,
  RequestError,
  UsageError,
  WorkerError,
} from "./lib/errors.ts";
export {
  selectAttentionBlocks,
  type Selection,
  type SelectionInput,
} from "./lib/attention/selection.ts";
export { type ConfigOptions, readConfig } from "./lib/model/config.ts";
export type { LayerShape, ModelShape, ProductShape, WeightSpec } from "./lib/model/model_shape.ts";
export {
  type CacheKind,
  type ComputeDType,
  type EightBits,
  type Precision,
  PRECISIONS,
  type WeightKind,
} from "./lib/model/precision.ts";
export { loadTokenizer, type TextTokenizer, type Tokenizer } from "./lib/model/tokenizer.ts";
export type {
  SelectionEvent,
  SelectionHooks,
  SelectionInfo,
  SelectionReader,
  SelectModule,
} from "./lib/attention/select_module.ts";
export type { TileMask } from "./lib/attention/tile_masks.ts";
export type { WireCurves } from "./lib/attention/mass_curves.ts";
export type { DeviceWish } from "./lib/device/open.ts";
export type { RowsSetName } from "./lib/ffi/status.ts";
export type {
  DynamicRopeScaling,
  FactorRopeScaling,
  LinearRopeScaling,
  Llama3RopeScaling,
  LongRopeScaling,
  RopeScaling,
  RopeShape,
  YarnRopeScaling,
} from "./lib/model/rope_frequencies.ts";
export { type BlockLayout, type ContextBlock, layOutBlocks } from "./lib/star/blocks.ts";
export { type Generation, loadModel, type Model } from "./lib/engine/load_model.ts";
export type {
  GenerateOptions,
  LoadOptions,
  PhasesOptions,
  Prompt,
} from "./lib/engine/model_options.ts";
export type { ScoredToken, ScoreOptions, Scores } from "./lib/engine/score.ts";
export type { TokenScore } from "./lib/star/token_scores.ts";
export {
  type Answer,
  type EncodeCall,
  type Encoded,
  openPhases,
  type PhaseCall,
  type Phases,
} from "./lib/engine/phases.ts";
export type {
  GenerateRequest,
  GenerateResult,
  Progress,
  RankCounters,
} from "./lib/star/request.ts";
