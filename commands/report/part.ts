/**
 * Pieces that a report is put together of.
 *
 * @module
 */
import type { ChartSpec } from "../../lib/deps/vega.ts";
import type { RunSession } from "../shared/run_record.ts";
import type { Html } from "./markup.ts";

/** A chart with what stands beside it. */
export interface Chart {
  readonly spec: ChartSpec;
  readonly name: string;
  readonly caption: string;
}

/** A section about something that is no experiment: a sweep, a calibration. */
export interface ReportPart {
  readonly id: string;
  /** In the line of links. */
  readonly link: string;
  readonly title: string;
  readonly charts: readonly Chart[];
  /** Whose scores it shows. */
  readonly tasks?: readonly string[];
  /** When, where and with which commit it was computed, as far as that is known. */
  readonly sessions?: readonly RunSession[];
  /** Gets the charts as they are drawn, in their order. */
  readonly body: (figures: readonly Html[]) => Html;
}
