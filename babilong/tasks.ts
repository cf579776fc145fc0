/**
 * BABILong's tasks: their names and the words that answers are made of (NVIDIA/Star-Attention,
 * `babilong/metrics.py`).
 *
 * @module
 */

const PLACES = ["bathroom", "bedroom", "garden", "hallway", "kitchen", "office"];
const YES_NO = ["no", "yes"];

/** The labels of each task, in the order of its number. */
export const TASK_LABELS: Readonly<Record<string, readonly string[]>> = {
  qa1: PLACES,
  qa2: PLACES,
  qa3: PLACES,
  qa4: PLACES,
  qa5: ["Bill", "Fred", "Jeff", "Mary", "apple", "football", "milk"],
  qa6: YES_NO,
  qa7: ["none", "one", "three", "two"],
  qa8: ["apple", "football", "milk", "nothing"],
  qa9: YES_NO,
  qa10: ["maybe", "no", "yes"],
  qa11: PLACES,
  qa12: PLACES,
  qa13: PLACES,
  qa14: ["bedroom", "cinema", "kitchen", "office", "park", "school"],
  qa15: ["cat", "mouse", "sheep", "wolf"],
  qa16: ["gray", "green", "white", "yellow"],
  qa17: YES_NO,
  qa18: YES_NO,
  qa19: ["e,e", "e,n", "e,s", "n,e", "n,n", "n,w", "s,e", "s,s", "s,w", "w,n", "w,s", "w,w"],
  qa20: ["bedroom", "bored", "garden", "hungry", "kitchen", "thirsty", "tired"],
};

/** All tasks. */
export const BABILONG_TASKS: readonly string[] = Object.keys(TASK_LABELS);
/** Those that the original runs. */
export const USUAL_TASKS: readonly string[] = BABILONG_TASKS.slice(0, 5);

/** The data set's splits by the tokens of their contexts. */
export const SPLITS: ReadonlyMap<number, string> = new Map([
  [0, "0k"],
  [1024, "1k"],
  [2048, "2k"],
  [4096, "4k"],
  [8192, "8k"],
  [16384, "16k"],
  [32768, "32k"],
  [65536, "64k"],
  [131072, "128k"],
  [262144, "256k"],
  [524288, "512k"],
  [1048576, "1M"],
  [10485760, "10M"],
]);
/** Those that the original runs. */
export const USUAL_SPLITS: readonly string[] = ["16k", "32k", "64k", "128k"];

/** Tokens that a model generates. */
export const TOKENS_TO_GENERATE = 128;

/** The data set of a split: below 64k there is one with 1,000 samples a task. */
export function datasetOf(split: string): string {
  const isLong = split.endsWith("M") || Number(split.slice(0, -1)) >= 64;
  return isLong ? "RMT-team/babilong" : "RMT-team/babilong-1k-samples";
}
