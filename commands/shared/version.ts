/**
 * The version of this program, from the one place that has it.
 *
 * @module
 */
import config from "../../deno.json" with { type: "json" };

/** As in `deno.json`. */
export const VERSION: string = config.version;
