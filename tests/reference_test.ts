/**
 * The whole pipeline against the reference values: ids and logits of every attention mode.
 *
 * @module
 */
import { PRECISIONS } from "../lib/model/precision.ts";
import { openEngine } from "../lib/engine/engine.ts";
import { assert, assertEquals, assertStringIncludes } from "./helpers/assert.ts";
import { checkPlan } from "../lib/attention/plan.ts";
import { goldenEntries, type GoldenEntry, goldenPlan } from "./helpers/golden.ts";

const MODEL = new URL("../models/starx-tiny", import.meta.url).pathname;
/** The bound of issue and reference: float32 runs agree to about 2e-3. */
const LOGIT_TOLERANCE = 5e-3;

async function run(
  entry: GoldenEntry,
  options: { name: string; dtype: "f32" | "bf16"; processCount: number },
) {
  const plan = goldenPlan(options.name, entry);
  if (plan === undefined) return undefined;
  const { dtype, processCount } = options;
  await using engine = await openEngine({
    modelFolder: MODEL,
    plan: checkPlan(plan),
    device: "cpu",
    precision: PRECISIONS[dtype],
    threads: 1,
    processCount,
    timeoutMs: 60_000,
  });
  // What an environment forces must have been used, by every rank.
  assertStringIncludes(engine.deviceDescription, Deno.env.get("STARX_ISA") ?? "cpu");
  return await engine.generate({
    sample: entry.task,
    contextIds: Int32Array.from(entry.context_ids),
    queryIds: Int32Array.from(entry.query_ids),
    tokensToGenerate: 24,
    stopIds: [],
    topLogits: 24,
  });
}

function assertLogits(
  found: readonly (readonly [number, number])[],
  expected: readonly (readonly [number, number])[],
): void {
  const values = new Map(found);
  // The last of the 24 may change places with the 25th.
  for (const [id, logit] of expected.slice(0, 20)) {
    const value = values.get(id);
    assert(
      value !== undefined && Math.abs(value - logit) <= LOGIT_TOLERANCE,
      `the logit of id ${id} must be ${logit} within ${LOGIT_TOLERANCE}: found ${value}`,
    );
  }
}

const entries = await goldenEntries();
for (const entry of entries) {
  const modes = Object.entries(entry.modes)
    .filter(([name]) => goldenPlan(name, entry) !== undefined);
  for (const [name, expected] of modes) {
    const ranks = name.startsWith("star") ? entry.ranks : 1;
    Deno.test(`f32 ${name} on ${entry.task} with ${ranks} ranks gives the reference's ids and logits`, async () => {
      const result = await run(entry, { name, dtype: "f32", processCount: ranks });
      assertEquals(result?.ids, [...expected.greedy_ids]);
      assertLogits(result?.topLogits ?? [], expected.first_logits_top24);
    });
    if (name !== "dense" && name !== "star") continue;
    Deno.test(`bf16 ${name} on ${entry.task} gives the reference's ids`, async () => {
      const result = await run(entry, { name, dtype: "bf16", processCount: 1 });
      assertEquals(result?.ids, [...expected.greedy_ids]);
    });
  }
}
