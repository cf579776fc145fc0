/**
 * Where a run keeps the tiles that a sample selected.
 *
 * @module
 */

/** Lies beside the log of the task whose first sample's tiles are kept. */
export const MASKS_FILE = "masks.json";
