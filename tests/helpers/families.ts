/**
 * The reference values of model families: tiny models, and what another implementation computes.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import type { GenerateResult } from "../../lib/star/request.ts";
import { sharedFolder } from "./shared.ts";

/** Tokens of the prompt that are the context; the others are the query. */
const CONTEXT_TOKENS = 280;

/** What the reference computes from a model in float32. */
export interface FamilyCase {
  readonly ids: readonly number[];
  readonly last_logits: readonly number[];
  readonly greedy: readonly number[];
  /** Gap between the two largest logits at each step. */
  readonly margins: readonly number[];
  /** Standard deviation of the last logits. */
  readonly std: number;
}

/** How a family is run. */
export interface FamilyRun {
  readonly plan?: PlanOptions;
  readonly dtype?: "f32" | "bf16";
  readonly processCount?: number;
  readonly device?: "cpu" | "cuda";
  readonly tokensToGenerate?: number;
  /** Tokens of the prompt that are the context; the others are the query. @default {280} */
  readonly contextTokens?: number;
}

/** The folder of the models, where there is one. */
export function familiesFolder(): string | undefined {
  const shared = sharedFolder();
  return shared === undefined ? undefined : `${shared}/families`;
}

/** All cases by name; none where the material is missing. */
export function familyCases(): Map<string, FamilyCase> {
  const folder = familiesFolder();
  if (folder === undefined) return new Map();
  const { cases } = JSON.parse(Deno.readTextFileSync(`${folder}/expected.json`));
  return new Map(Object.entries<FamilyCase>(cases));
}

/** Runs a model with a case's prompt. */
export async function runFamily(
  modelFolder: string,
  options: FamilyRun & { ids: readonly number[] },
): Promise<GenerateResult> {
  const { plan = { mode: "dense" }, dtype = "f32", processCount = 1, device = "cpu" } = options;
  const { ids, tokensToGenerate = 16, contextTokens = CONTEXT_TOKENS } = options;
  await using engine = await openEngine({
    modelFolder,
    plan: checkPlan(plan),
    device,
    precision: PRECISIONS[dtype],
    threads: 1,
    processCount,
    timeoutMs: 60_000,
  });
  return await engine.generate({
    sample: "family",
    contextIds: Int32Array.from(ids.slice(0, contextTokens)),
    queryIds: Int32Array.from(ids.slice(contextTokens)),
    tokensToGenerate,
    stopIds: [],
    topLogits: engine.config.embedding.shape[0] ?? 0,
  });
}

/** The errors of a result's logits, in units of the reference's standard deviation. */
export function logitErrors(
  result: Pick<GenerateResult, "topLogits">,
  expected: FamilyCase,
): { largest: number; rootMeanSquare: number } {
  const errors = result.topLogits.map(([id, logit]) =>
    Math.abs(logit - (expected.last_logits[id] ?? NaN)) / expected.std
  );
  const squares = errors.reduce((sum, error) => sum + error ** 2, 0);
  return {
    largest: Math.max(...errors),
    rootMeanSquare: Math.sqrt(squares / expected.last_logits.length),
  };
}

/** How many ids must be the reference's: those before the first margin that an error can turn. */
export function decidedIds(expected: FamilyCase, error: number): number {
  const unsure = expected.margins.findIndex((margin) => margin <= 2 * error * expected.std);
  return unsure === -1 ? expected.greedy.length : unsure;
}

/** The README's figures of an architecture. */
export interface DocumentedErrors {
  /** The largest error in f32. */
  readonly f32: number;
  /** Root of the mean square in bf16. */
  readonly bf16: number;
  /** The largest error in bf16. */
  readonly largest: number;
}

/** The errors that the README's table of families tells of an architecture. */
export function documentedErrors(architecture: string): DocumentedErrors {
  const readme = Deno.readTextFileSync(new URL("../../README.md", import.meta.url));
  const row = readme.split("\n").find((line) => line.startsWith(`| \`${architecture}\``)) ?? "";
  const [largest = NaN, bf16 = NaN, f32 = NaN] = row.split("|").slice(0, -1).reverse().map(Number);
  return { f32, bf16, largest };
}
