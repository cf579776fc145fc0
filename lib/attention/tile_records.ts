/**
 * What is recorded of a context's tiles on one rank while it is encoded, where somebody asks for it.
 *
 * @module
 */
import { MassCurves, type WireCurves } from "./mass_curves.ts";
import { type Plan, PLAN_DEFAULTS } from "./plan.ts";
import { ruleOf } from "./thresholds.ts";
import { type TileMask, TileMasks } from "./tile_masks.ts";

/** What is to be recorded. */
export interface RecordRequest {
  /** Which tiles are selected. @default {false} */
  readonly withMasks?: boolean | undefined;
  /** What selections would keep of exact attention, which is computed then. @default {false} */
  readonly withCurves?: boolean | undefined;
}

/** What was recorded, for a result. */
export interface RecordedTiles {
  readonly masks: readonly TileMask[];
  readonly curves?: WireCurves | undefined;
}

/** Takes what is recorded. */
export class TileRecords {
  readonly masks: TileMasks | undefined;
  readonly curves: MassCurves | undefined;

  private constructor(records: { masks: TileMasks | undefined; curves: MassCurves | undefined }) {
    this.masks = records.masks;
    this.curves = records.curves;
  }

  /**
   * Undefined if nothing is asked for.
   *
   * @param run `plan`: its threshold says whether curves are of thresholds or of shares.
   */
  static of(
    request: RecordRequest,
    run: { config: { readonly layerCount: number; readonly queryHeads: number }; plan: Plan },
  ): TileRecords | undefined {
    const { withMasks = false, withCurves = false } = request;
    if (!withMasks && !withCurves) return undefined;
    const { config: { layerCount, queryHeads: heads }, plan: { selection } } = run;
    const rule = ruleOf(selection?.threshold ?? PLAN_DEFAULTS.threshold);
    return new TileRecords({
      masks: withMasks ? new TileMasks() : undefined,
      // The last layer's attention is not needed in phase 1.
      curves: withCurves ? new MassCurves({ layers: layerCount - 1, heads, rule }) : undefined,
    });
  }

  /** What there is to tell. */
  get recorded(): RecordedTiles {
    const curves = this.curves?.toWire();
    return { masks: this.masks?.all ?? [], ...(curves === undefined ? {} : { curves }) };
  }
}
