/**
 * What BABILong is made of (arXiv 2406.10149; `babilong/` of NVIDIA/Star-Attention).
 *
 * @module
 */

/** The texts of a task's prompt. */
export interface BabilongPrompt {
  readonly instruction: string;
  readonly examples: string;
  readonly postPrompt: string;
}

/** A row of the data set. */
export interface BabilongRow {
  /** The context: facts hidden in a book. */
  readonly input: string;
  readonly question: string;
  readonly target: string;
}

/** What stands around a prompt; see `ruler/templates.ts`. */
export interface Around {
  readonly before: string;
  readonly after: string;
}

/** A sample as it is written for a model. */
export interface BabilongSample {
  readonly index: number;
  readonly context: string;
  readonly query: string;
  readonly answers: readonly string[];
}
