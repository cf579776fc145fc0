/**
 * What the selection takes for a threshold: one number for all heads, a share that each tile must
 * have, or a table with one for each layer and query head; as values that are checked here once, and
 * on the devices of the layers.
 *
 * XAttention's own runs of RULER have such a table (arXiv 2503.16428, "minimum threshold prediction").
 *
 * @module
 */
import { createHash } from "node:crypto";
import { PerStage, type Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant, UsageError } from "../errors.ts";
import { optionError } from "../options.ts";
import { describeValue, isJsonObject } from "../text_file.ts";

/**
 * How a threshold selects: the largest tiles of a row until they hold it together, or each tile that
 * holds it by itself.
 */
export type TileRule = "threshold" | "share";
/** All of them. */
export const TILE_RULES = ["threshold", "share"] as const satisfies readonly TileRule[];

/** A threshold for each layer and query head. */
export interface ThresholdTable {
  /** Tokens per group of the antidiagonal sums that the thresholds were found with. */
  readonly stride: number;
  /** What the numbers are. @default {"threshold"} */
  readonly rule?: TileRule | undefined;
  /**
   * [layers][query heads]: 0 to 1. As a threshold 0 selects the sink tile and the diagonal alone, as a
   * share every causal tile.
   */
  readonly layers: readonly (readonly number[])[];
  /** The digest of the model folder that they were found for; null for any of this size. */
  readonly model: string | null;
  /** The file that they were read from, for messages. */
  readonly file?: string | undefined;
}

/**
 * Selects a tile by its own share: every tile that holds at least this share of its row's mass, and
 * the row's own one.
 */
export interface ShareThreshold {
  /** Above 0 and at most 1. */
  readonly share: number;
}

/** A number stands for the largest tiles that together hold this share of a row's mass. */
export type Threshold = number | ShareThreshold | ThresholdTable;

/** Tells a table from a threshold for all heads. */
export function isTable(threshold: Threshold): threshold is ThresholdTable {
  return typeof threshold === "object" && ("layers" in threshold || !("share" in threshold));
}

/** The number of a threshold for all heads. */
export function numberOf(threshold: Exclude<Threshold, ThresholdTable>): number {
  return typeof threshold === "number" ? threshold : threshold.share;
}

/** How a threshold selects. */
export function ruleOf(threshold: Threshold): TileRule {
  if (isTable(threshold)) return threshold.rule ?? "threshold";
  return typeof threshold === "number" ? "threshold" : "share";
}

/** What is wrong with a table, for whoever words it. */
export interface TableFault {
  /** For example `stride` or `layers[3][0]`. */
  readonly key: string;
  readonly rule: string;
  /** Undefined if it is missing. */
  readonly value: unknown;
}

/** The model's digest as `modelDigest()` gives it. */
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * Checks a table by itself; keys that are not known are left out.
 *
 * @param fail Makes the error of a fault.
 * @throws What `fail()` makes.
 */
export function readTable(value: unknown, fail: (fault: TableFault) => Error): ThresholdTable {
  if (!isJsonObject(value)) throw fail({ key: "", rule: "an object", value });
  const { stride, rule: given = "threshold", layers, model } = value;
  if (typeof stride !== "number") throw fail({ key: "stride", rule: "a number", value: stride });
  const rule = TILE_RULES.find((one) => one === given);
  if (rule === undefined) {
    throw fail({ key: "rule", rule: `one of ${TILE_RULES.join(", ")}, or absent`, value: given });
  }
  if (!Array.isArray(layers) || layers.length === 0) {
    throw fail({ key: "layers", rule: "an array of layers", value: layers });
  }
  if (model !== null && !(typeof model === "string" && SHA256.test(model))) {
    throw fail({ key: "model", rule: "a SHA-256 in 64 hexadecimal digits, or null", value: model });
  }
  const [first] = layers;
  const rows = layers.map((row: unknown, layer) => {
    const heads = Array.isArray(first) ? first.length : 0;
    if (!Array.isArray(row) || row.length === 0) {
      const rule = "an array of a number per query head";
      throw fail({ key: `layers[${layer}]`, rule, value: row });
    }
    if (row.length !== heads) {
      const rule = `as long as the first layer's, ${heads}`;
      throw fail({ key: `layers[${layer}]`, rule, value: row.length });
    }
    return row.map((threshold: unknown, head) => {
      if (typeof threshold === "number" && threshold >= 0 && threshold <= 1) return threshold;
      throw fail({ key: `layers[${layer}][${head}]`, rule: "from 0 to 1", value: threshold });
    });
  });
  return { stride, ...(rule === "share" ? { rule } : {}), layers: rows, model };
}

/** The words for what is wrong with a table: of one from a file, `Cannot use <file> as "<key>" must be`. */
export function tableError(
  table: Pick<ThresholdTable, "file">,
  { key, rule, value }: TableFault,
): UsageError {
  const { file } = table;
  if (typeof file !== "string") {
    return optionError({ action: "select tiles", name: `threshold.${key}` }, { rule, value });
  }
  return new UsageError(
    `Cannot use ${file} as "${key}" must be ${rule}: current value is ${describeValue(value)}`,
  );
}

/** What is wrong with a table for a model's size; undefined if nothing is. */
export function tableMisfit(
  { layers }: ThresholdTable,
  model: { readonly layerCount: number; readonly queryHeads: number },
): TableFault | undefined {
  const { layerCount, queryHeads } = model;
  const heads = layers[0]?.length ?? 0;
  if (layers.length !== layerCount) {
    const rule = `of as many layers as the model has, ${layerCount}`;
    return { key: "layers", rule, value: layers.length };
  }
  if (heads === queryHeads) return undefined;
  const rule = `of as many query heads as the model has, ${queryHeads}`;
  return { key: "layers[0]", rule, value: heads };
}

/** SHA-256 of what decides about results: stride, thresholds, and the rule if they are shares. */
export function tableDigest(table: ThresholdTable): string {
  const { stride, layers } = table;
  const rule = ruleOf(table);
  const decisive = [stride, layers, ...(rule === "share" ? [rule] : [])];
  return createHash("sha256").update(JSON.stringify(decisive)).digest("hex");
}

/** A threshold, or a table by its digest: what tells runs apart. */
export function thresholdRecord(threshold: Threshold): number | string {
  if (isTable(threshold)) return `sha256:${tableDigest(threshold)}`;
  return typeof threshold === "number" ? threshold : `share:${threshold.share}`;
}

/** A threshold, or a table's size and digest, for people. */
export function describeThreshold(threshold: Threshold): string {
  if (!isTable(threshold)) return `threshold ${thresholdRecord(threshold)}`;
  const { layers } = threshold;
  const size = `${layers.length} x ${layers[0]?.length ?? 0}`;
  const numbers = ruleOf(threshold) === "share" ? "shares" : "thresholds";
  return `${size} ${numbers} ${tableDigest(threshold).slice(0, 12)}`;
}

/** A table on one device, written when it is first asked for. */
interface StageTable {
  /** [layers, heads] f32. */
  readonly tensor: Tensor;
  written: Promise<void> | undefined;
}

/** The thresholds of all layers, for the op that selects; owns what it has on the devices. */
export class LayerThresholds implements Disposable {
  /** Whether tiles are selected each by its own share. */
  readonly byShare: boolean;
  readonly #threshold: number | ThresholdTable;
  readonly #owned = new DisposableStack();
  readonly #tables: PerStage<StageTable> | undefined;

  /** @param threshold A table of the model's size, or one for all. */
  constructor(stages: readonly Stage[], threshold: Threshold) {
    this.byShare = ruleOf(threshold) === "share";
    this.#threshold = isTable(threshold) ? threshold : numberOf(threshold);
    if (!isTable(threshold)) return;
    const { layers } = threshold;
    const shape = [layers.length, layers[0]?.length ?? 0];
    this.#tables = new PerStage(stages, ({ device }) => ({
      tensor: this.#owned.use(
        Tensor.allocate(device, { dtype: "f32", shape, label: "thresholds" }),
      ),
      written: undefined,
    }));
  }

  /** What the op takes for a layer: the number, or [heads] f32 on the layer's device. */
  async of(layer: number): Promise<number | Tensor> {
    const threshold = this.#threshold;
    if (typeof threshold === "number") return threshold;
    const table = this.#tables?.of(layer);
    invariant(table !== undefined, "a table lies on every device");
    const { tensor } = table;
    // Chunks that run side by side may ask at the same time.
    await (table.written ??= tensor.writeFrom(Float32Array.from(threshold.layers.flat())));
    return tensor.rows(layer, 1).reshape([tensor.shape[1] ?? 0]);
  }

  /** The number of one head. */
  ofHead(layer: number, head: number): number {
    const threshold = this.#threshold;
    return typeof threshold === "number" ? threshold : threshold.layers[layer]?.[head] ?? 0;
  }

  /** Frees the tables; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#owned.dispose();
  }
}
