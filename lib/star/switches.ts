/**
 * Switches that turn a part off, so that it can be measured: environment variables with the value
 * `off`.
 *
 * @module
 */
import { environmentVariable } from "../environment.ts";

/** What can be turned off; all ranks must have the same. */
export type Switch = "STARX_ANCHOR_STREAM" | "STARX_DROP_KEYS" | "STARX_RECORD_EXCHANGES";

/** Whether a part is on, as all are where the environment may not be read. */
export function isOn(variable: Switch): boolean {
  return environmentVariable(variable) !== "off";
}
