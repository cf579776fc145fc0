/**
 * The reference's prompts several at once, in every mode, on one and two processes, in the ring's
 * modes on up to four: each gets the ids that the reference gives it.
 *
 * @module
 */
import { checkPlan, type PlanOptions, usedRanks } from "../../lib/attention/plan.ts";
import { openEngine } from "../../lib/engine/engine.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { assertEquals } from "../helpers/assert.ts";
import { goldenEntries, type GoldenEntry, goldenPlan } from "../helpers/golden.ts";
import { MODEL } from "../helpers/prompts.ts";

const BATCH = 3;
const entries = await goldenEntries();

/** A plan, and the prompts whose ids in it the reference has. */
interface BatchCase {
  readonly name: string;
  readonly plan: PlanOptions;
  readonly processCount: number;
  readonly known: readonly { readonly entry: GoldenEntry; readonly ids: readonly number[] }[];
}

/** What the reference says of a mode for some prompts; the ring's modes give those of one rank. */
function casesOf(name: string, of: readonly GoldenEntry[], options: { mode?: "ring" | "ringx" }) {
  const counts = options.mode === undefined ? [1, 2] : [1, 2, 3, 4];
  return counts.flatMap((processCount): BatchCase[] => {
    const [first] = of;
    const base = first === undefined ? undefined : goldenPlan(name, first);
    if (first === undefined || base === undefined) return [];
    const plan = { ...base, ...options };
    // The weights of the ranks depend on how many there are.
    if (plan.merge === "antidiagonal" && first.ranks !== processCount) return [];
    if (usedRanks(checkPlan(plan), { ranks: processCount }) < processCount) return [];
    const known = of.map((entry) => ({ entry, ids: entry.modes[name]?.greedy_ids ?? [] }));
    return [{ name: options.mode ?? name, plan, processCount, known }];
  });
}

const CASES = [
  ...["dense", "xattn_S16_t0.9", "xattn_S8_t0.8"].flatMap((name) => casesOf(name, entries, {})),
  ...casesOf("dense", entries, { mode: "ring" }),
  ...casesOf("xattn_S16_t0.9", entries, { mode: "ringx" }),
  // Each prompt has blocks of its own.
  ...["star", "starx_p1_S16_t0.9", "star_seedweights_S16"].flatMap((name) =>
    entries.flatMap((entry) => casesOf(name, [entry], {}))
  ),
];

for (const { name, plan, processCount, known } of CASES) {
  const whose = known.map(({ entry }) => entry.task).join(", ");
  Deno.test(`${BATCH} prompts at once on ${processCount} processes in ${name}: ${whose}`, async () => {
    await using engine = await openEngine({
      modelFolder: MODEL,
      plan: checkPlan(plan),
      device: "cpu",
      precision: PRECISIONS.f32,
      threads: 1,
      processCount,
      timeoutMs: 60_000,
      batchSize: BATCH,
    });
    // Those that have no reference here are company; who is asked twice is also the last one.
    const ours = known.map(({ entry }) => entry);
    const others = entries.filter((entry) => !ours.includes(entry));
    const asked = [...ours, ...others.slice(0, BATCH - 1), ...ours];
    const results = await Promise.all(asked.map((entry, i) =>
      engine.generate({
        sample: `${entry.task} ${i}`,
        contextIds: Int32Array.from(entry.context_ids),
        queryIds: Int32Array.from(entry.query_ids),
        tokensToGenerate: 24,
        stopIds: [],
        topLogits: 0,
      })
    ));
    for (const [i, entry] of asked.entries()) {
      const ids = known.find((one) => one.entry === entry)?.ids;
      if (ids !== undefined) assertEquals(results[i]?.ids, ids, `${entry.task}, number ${i}`);
    }
  });
}
