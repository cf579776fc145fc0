/**
 * The tables of thresholds that a sweep's settings name: files, and what the curves of `calibrate`
 * give for a density. Each is read once.
 *
 * @module
 */
import type { MassCurves } from "../../lib/attention/mass_curves.ts";
import { PLAN_DEFAULTS } from "../../lib/attention/plan.ts";
import { numberOf, type ThresholdTable } from "../../lib/attention/thresholds.ts";
import { checkPlanTable, checkTableModel } from "../../lib/engine/threshold_check.ts";
import { FileError, invariant, UsageError } from "../../lib/errors.ts";
import type { ModelShape } from "../../lib/model/model_shape.ts";
import { readCurves } from "../calibrate/curve_file.ts";
import { poolMeasured } from "../calibrate/effects.ts";
import { chooseSteps, COMPARED, tableOf } from "../calibrate/thresholds.ts";
import { readTableFile, shareOf } from "../shared/threshold_flag.ts";
import type { AxisPlace } from "./axes.ts";
import type { Setting } from "./settings.ts";

/** What tables are for. */
interface TableOptions {
  readonly lengths: readonly number[];
  /** What `--curves` names; may hold `{mode}`, `{length}` and `{stride}`. */
  readonly curvesPath: string | undefined;
  readonly folder: string;
  readonly config: ModelShape;
}

/** The curves of a file, of all its prompts together. */
interface PooledCurves {
  readonly stride: number;
  readonly curves: MassCurves;
  /** Of the layers, where that was measured. */
  readonly worth: readonly number[] | undefined;
}

/** A path with a setting's mode, stride and length in it. */
function pathFor(path: string, place: { setting: Setting; length: number }): string {
  const { setting: { attn_type, stride }, length } = place;
  return path.replaceAll("{mode}", attn_type).replaceAll("{length}", String(length))
    .replaceAll("{stride}", String(stride ?? PLAN_DEFAULTS.stride));
}

/** Reads tables, and keeps them. */
export class Tables {
  readonly #options: TableOptions;
  readonly #curves = new Map<string, PooledCurves>();
  /** By what they were made of. */
  readonly #tables = new Map<string, ThresholdTable>();

  private constructor(options: TableOptions) {
    this.#options = options;
  }

  /**
   * Reads and checks what some settings need.
   *
   * @throws {UsageError} If curves are needed and not named, or a table is for another model.
   * @throws {FileError} If a file cannot be read, or holds neither thresholds nor curves.
   */
  static async open(settings: readonly Setting[], options: TableOptions): Promise<Tables> {
    const tables = new Tables(options);
    for (const length of options.lengths) {
      for (const setting of settings) {
        await tables.#read(setting, length);
      }
    }
    return tables;
  }

  /** What a setting's options look up at a length. */
  placeOf(setting: Setting, length: number): AxisPlace {
    return {
      length,
      tableIn: (path) => this.#tableOf(pathFor(path, { setting, length })),
      tableOf: (density) => this.#tableOf(densityKey(this.#curvesPath(setting, length), density)),
    };
  }

  #tableOf(key: string): ThresholdTable {
    const table = this.#tables.get(key);
    invariant(table !== undefined, "the tables of all settings were read");
    return table;
  }

  #curvesPath(setting: Setting, length: number): string {
    const { curvesPath } = this.#options;
    if (curvesPath !== undefined) return pathFor(curvesPath, { setting, length });
    throw new UsageError(
      "--curves is required with --density: FILE.curves.jsonl of calibrate, from which thresholds " +
        "are chosen",
    );
  }

  async #read(setting: Setting, length: number): Promise<void> {
    const { threshold, density } = setting;
    if (typeof threshold === "string" && shareOf(threshold) === undefined) {
      const path = pathFor(threshold, { setting, length });
      if (!this.#tables.has(path)) await this.#add(path, readTableFile(path));
    }
    if (density === undefined) return;
    const path = this.#curvesPath(setting, length);
    const pooled = this.#curves.get(path) ?? await this.#readCurves(path);
    this.#checkStride(pooled, { setting, path });
    const key = densityKey(path, Number(density));
    if (this.#tables.has(key)) return;
    const { curves, worth, stride } = pooled;
    const steps = chooseSteps([curves], { kind: "density", density: Number(density) }, worth);
    const { config: { layerCount } } = this.#options;
    // As calibrate writes it with the same goal and no --threshold of its own.
    const { rule } = curves;
    const lastThreshold = numberOf(COMPARED[rule]);
    const table = tableOf(steps, { stride, rule, model: null, layerCount, lastThreshold });
    await this.#add(key, { ...table, file: path });
  }

  async #readCurves(path: string): Promise<PooledCurves> {
    const { options, measured } = await readCurves(path);
    const key = "--model_path";
    const { "--stride": stride, [key]: digest } = options;
    if (typeof stride !== "number") {
      throw new FileError(`Cannot use ${path}: its first line must have a "--stride"`);
    }
    const model = typeof digest === "string" ? digest : null;
    await checkTableModel({ model, file: path, key }, this.#options.folder);
    const pooled = { stride, ...poolMeasured(measured) };
    this.#curves.set(path, pooled);
    return pooled;
  }

  #checkStride(pooled: PooledCurves, place: { setting: Setting; path: string }): void {
    const { setting: { stride }, path } = place;
    if (pooled.stride === stride) return;
    throw new UsageError(
      `--curves: must be of --stride ${stride}: current value is ${path} of stride ${pooled.stride}`,
    );
  }

  /** The model's digest is compared here once, and not again for each prompt. */
  async #add(key: string, table: ThresholdTable): Promise<void> {
    const { folder, config } = this.#options;
    const selection = { stride: table.stride, threshold: table };
    await checkPlanTable({ cut: { kind: "whole" }, selection }, { folder, config });
    this.#tables.set(key, { ...table, model: null });
  }
}

function densityKey(path: string, density: number): string {
  return `${density} of ${path}`;
}
