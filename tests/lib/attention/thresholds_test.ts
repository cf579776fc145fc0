/**
 * Tables of thresholds as values: what is refused, what tells them apart.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../../lib/attention/plan.ts";
import {
  describeThreshold,
  readTable,
  ruleOf,
  tableDigest,
  tableMisfit,
  thresholdRecord,
  type ThresholdTable,
} from "../../../lib/attention/thresholds.ts";
import { UsageError } from "../../../lib/errors.ts";
import { assert, assertEquals, assertThrows } from "../../helpers/assert.ts";

const TABLE: ThresholdTable = { stride: 16, layers: [[0, 0.5], [1, 0.25]], model: null };

const REFUSED: readonly (readonly [table: unknown, message: string])[] = [
  [[], " an object []"],
  [{ ...TABLE, stride: undefined }, "stride a number undefined"],
  [{ ...TABLE, stride: "16" }, "stride a number 16"],
  [{ ...TABLE, rule: "shares" }, "rule one of threshold, share, or absent shares"],
  [{ ...TABLE, rule: 1 }, "rule one of threshold, share, or absent 1"],
  [{ ...TABLE, rule: "share", layers: [[1.5]] }, "layers[0][0] from 0 to 1 1.5"],
  [{ ...TABLE, layers: undefined }, "layers an array of layers undefined"],
  [{ ...TABLE, layers: [] }, "layers an array of layers []"],
  [{ ...TABLE, layers: [[]] }, "layers[0] an array of a number per query head []"],
  [{ ...TABLE, layers: [[1], 2] }, "layers[1] an array of a number per query head 2"],
  [{ ...TABLE, layers: [[1, 1], [1]] }, "layers[1] as long as the first layer's, 2 1"],
  [{ ...TABLE, layers: [[1, 1.5]] }, "layers[0][1] from 0 to 1 1.5"],
  [{ ...TABLE, layers: [[-0.1]] }, "layers[0][0] from 0 to 1 -0.1"],
  [{ ...TABLE, layers: [[0], [null]] }, "layers[1][0] from 0 to 1 null"],
  [{ ...TABLE, layers: [["0.5"]] }, "layers[0][0] from 0 to 1 0.5"],
  [{ ...TABLE, model: undefined }, "model a SHA-256 in 64 hexadecimal digits, or null undefined"],
  [{ ...TABLE, model: "ab" }, "model a SHA-256 in 64 hexadecimal digits, or null ab"],
];

for (const [table, message] of REFUSED) {
  Deno.test(`readTable() refuses ${JSON.stringify(table)}`, () => {
    const show = (value: unknown) => Array.isArray(value) ? JSON.stringify(value) : String(value);
    const fail = ({ key, rule, value }: { key: string; rule: string; value: unknown }) =>
      new UsageError(`${key} ${rule} ${show(value)}`);
    assertThrows(() => readTable(table, fail), UsageError, message);
  });
}

Deno.test("checkPlan() takes a table and leaves out what it does not know", () => {
  const threshold = { ...TABLE, note: "more" };
  for (const mode of ["xattn", "ringx"] as const) {
    const { selection } = checkPlan({ mode, threshold });
    assertEquals(selection, { stride: 16, threshold: TABLE });
  }
  assertEquals(checkPlan({ mode: "dense", threshold }).selection, undefined);
  const shares = { ...TABLE, rule: "share" } as const;
  const more = { ...shares, note: "more" };
  const { selection } = checkPlan({ mode: "xattn", threshold: more });
  assertEquals(selection, { stride: 16, threshold: shares });
  // What there was before tables had rules.
  const named = checkPlan({ mode: "xattn", threshold: { ...TABLE, rule: "threshold" } });
  assertEquals(named.selection, { stride: 16, threshold: TABLE });
});

Deno.test("ruleOf() tells shares from thresholds", () => {
  const rules = [0.5, TABLE, { ...TABLE, rule: "threshold" as const }].map(ruleOf);
  assertEquals(rules, ["threshold", "threshold", "threshold"]);
  assertEquals([{ share: 0.1 }, { ...TABLE, rule: "share" as const }].map(ruleOf), [
    "share",
    "share",
  ]);
});

Deno.test("checkPlan() names what is wrong with a table", () => {
  const cases: readonly (readonly [unknown, string])[] = [
    [{ threshold: { ...TABLE, layers: [[2]] } }, "'threshold.layers[0][0]' must be from 0 to 1: "],
    [
      { threshold: { stride: 16, model: null } },
      "'threshold.layers' is missing: it must be an arr",
    ],
    [{ threshold: TABLE, stride: 8 }, "'threshold.stride' must be 'stride' 8: current value is 16"],
    [{ threshold: { ...TABLE, stride: 4 } }, "must be 'stride' 16: current value is 4"],
    [{ threshold: [0.5] }, "'threshold' must be an object"],
  ];
  for (const [options, message] of cases) {
    const plan = () => checkPlan({ mode: "xattn", ...options as PlanOptions });
    assertThrows(plan, UsageError, message);
  }
});

Deno.test("a table's digest is that of its stride and thresholds alone", () => {
  const digest = tableDigest(TABLE);
  assertEquals(tableDigest({ ...TABLE, model: "0".repeat(64) }), digest);
  assert(tableDigest({ ...TABLE, stride: 8 }) !== digest);
  assert(tableDigest({ ...TABLE, layers: [[0, 0.5], [1, 0.26]] }) !== digest);
  assertEquals([thresholdRecord(0.9), thresholdRecord(TABLE)], [0.9, `sha256:${digest}`]);
  assertEquals(describeThreshold(TABLE), `2 x 2 thresholds ${digest.slice(0, 12)}`);
  const shares = { ...TABLE, rule: "share" } as const;
  assert(tableDigest(shares) !== digest, "as shares the same numbers are another selection");
  assertEquals(tableDigest({ ...TABLE, rule: "threshold" }), digest);
  assertEquals(describeThreshold(shares), `2 x 2 shares ${tableDigest(shares).slice(0, 12)}`);
  assertEquals(describeThreshold(0.9), "threshold 0.9");
  assertEquals(describeThreshold({ share: 0.02 }), "threshold share:0.02");
});

Deno.test("tableMisfit() compares a table with a model's size", () => {
  assertEquals(tableMisfit(TABLE, { layerCount: 2, queryHeads: 2 }), undefined);
  assertEquals(tableMisfit(TABLE, { layerCount: 3, queryHeads: 2 })?.key, "layers");
  assertEquals(tableMisfit(TABLE, { layerCount: 2, queryHeads: 4 })?.value, 2);
});
