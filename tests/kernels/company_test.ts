/**
 * The ops between the products of a decode step, whose rows belong to different sequences: what they
 * compute for a row depends on that row alone.
 *
 * @module
 */
import type { Tensor } from "../../lib/device/tensor.ts";
import { embedding } from "../../lib/ops/embedding.ts";
import { mergeStates } from "../../lib/ops/merge_states.ts";
import { rmsNorm } from "../../lib/ops/rms_norm.ts";
import { rope, ropeTable } from "../../lib/ops/rope.ts";
import { argmax } from "../../lib/ops/sample.ts";
import { swiglu } from "../../lib/ops/swiglu.ts";
import { type Company, companyTest, pickRows, rowsOf } from "../helpers/company.ts";
import type { Bench } from "../helpers/twin.ts";

const MEMBERS = 67;

/** Random rows of f32 of the chosen members, the same for a member in every call. */
async function rowsOfMembers(
  bench: Bench,
  options: { label: string; chosen: readonly number[]; width: number },
): Promise<Tensor> {
  const { label, chosen, width } = options;
  const all = await bench.floats(label, [MEMBERS, width]);
  const rows = await bench.floats(`${label}${chosen.length}`, [chosen.length, width]);
  await rows.writeFrom(pickRows(await all.toFloats(), { chosen, width }));
  return rows;
}

/** One number of each chosen member. */
async function intsOfMembers(
  bench: Bench,
  options: { label: string; chosen: readonly number[]; of: (member: number) => number },
): Promise<Tensor> {
  const { label, chosen, of } = options;
  const ints = await bench.ints(`${label}${chosen.length}`, [chosen.length], { low: 0, high: 1 });
  await ints.writeFrom(Int32Array.from(chosen, of));
  return ints;
}

companyTest(
  "rmsNorm()",
  [64, 4_096, 8_200].map((dim): Company => ({
    name: `rows of ${dim}`,
    count: MEMBERS,
    run: async (bench, chosen) => {
      const out = await bench.output("out", "bf16", [chosen.length, dim]);
      await rmsNorm(bench.device, {
        out,
        residual: await rowsOfMembers(bench, { label: "residual", chosen, width: dim }),
        delta: await rowsOfMembers(bench, { label: "delta", chosen, width: dim }),
        weight: await bench.floats("weight", [dim]),
        eps: 1e-5,
      });
      return rowsOf(await out.toBytes(), chosen.length);
    },
  })),
);

companyTest(
  "swiglu()",
  [100, 1_536].map((dim): Company => ({
    name: `rows of ${dim}`,
    count: MEMBERS,
    run: async (bench, chosen) => {
      const out = await bench.output("out", "f32", [chosen.length, dim]);
      const gateUp = await rowsOfMembers(bench, { label: "gateUp", chosen, width: 2 * dim });
      await swiglu(bench.device, { out, gateUp });
      return rowsOf(await out.toBytes(), chosen.length);
    },
  })),
);

companyTest("embedding()", [{
  name: "rows of 96",
  count: MEMBERS,
  run: async (bench, chosen) => {
    const out = await bench.output("out", "f32", [chosen.length, 96]);
    await embedding(bench.device, {
      out,
      table: await bench.floats("table", [200, 96], { dtype: "bf16" }),
      ids: await intsOfMembers(bench, { label: "ids", chosen, of: (member) => member * 3 % 200 }),
    });
    return rowsOf(await out.toBytes(), chosen.length);
  },
}]);

const HEADS = { qHeads: 4, kvHeads: 2, headDim: 64 } as const;

companyTest("rope()", [{
  name: "4/2 heads of 64",
  count: MEMBERS,
  run: async (bench, chosen) => {
    const { qHeads, kvHeads, headDim } = HEADS;
    const tokens = chosen.length;
    const [table, qOut] = [
      await bench.output("table", "f32", [tokens, headDim]),
      await bench.output("qOut", "f32", [tokens, qHeads, headDim]),
    ];
    const cache = async (label: string): Promise<Tensor> =>
      await bench.output(label, "f32", [kvHeads, MEMBERS, headDim]);
    const [keys, values] = [await cache("keys"), await cache("values")];
    await ropeTable(bench.device, {
      table,
      inverseFrequency: await bench.floats("inverseFrequency", [headDim / 2]),
      positions: await intsOfMembers(bench, { label: "at", chosen, of: (member) => member * 977 }),
    });
    const width = (qHeads + 2 * kvHeads) * headDim;
    await rope(bench.device, {
      ...{ qOut, table, ...HEADS, cache: { keys, values } },
      qkv: await rowsOfMembers(bench, { label: "qkv", chosen, width }),
      rows: await intsOfMembers(bench, { label: "rows", chosen, of: (member) => member }),
    });
    const written = [await keys.toBytes(), await values.toBytes()].map((bytes) =>
      rowsOf(bytes, kvHeads * MEMBERS)
    );
    return rowsOf(await qOut.toBytes(), tokens).map((row, i) => {
      const heads = Array.from({ length: kvHeads }, (_, head) => head * MEMBERS + (chosen[i] ?? 0));
      const cached = written.flatMap((rows) => heads.flatMap((at) => [...rows[at] ?? []]));
      return new Uint8Array([...row, ...cached]);
    });
  },
}]);

companyTest("mergeStates()", [{
  name: "three parts of 4 heads of 64",
  count: MEMBERS,
  run: async (bench, chosen) => {
    const { qHeads: heads, headDim } = HEADS;
    const tokens = chosen.length;
    const parts: number[] = [];
    for (const part of [0, 1, 2]) {
      const width = heads * headDim;
      const options = { chosen, width };
      const out = await rowsOfMembers(bench, { label: `out of part ${part}`, ...options });
      const lse = await rowsOfMembers(bench, {
        label: `lse of part ${part}`,
        chosen,
        width: heads,
      });
      parts.push(...await out.toFloats(), ...await lse.toFloats(), ...new Float32Array(heads));
    }
    const packed = await bench.floats(`parts${tokens}`, [3, parts.length / 3]);
    await packed.writeFrom(Float32Array.from(parts));
    const out = await bench.output("out", "bf16", [tokens, heads, headDim]);
    await mergeStates(bench.device, {
      ...{ out, parts: packed, byScore: false, tokens, heads, headDim },
    });
    return rowsOf(await out.toBytes(), tokens);
  },
}]);

companyTest("argmax()", [{
  name: "rows of 9,000",
  count: MEMBERS,
  run: async (bench, chosen) => {
    const out = await bench.output("out", "i32", [chosen.length]);
    const logits = await rowsOfMembers(bench, { label: "logits", chosen, width: 9_000 });
    await argmax(bench.device, { out, logits });
    return rowsOf(await out.toBytes(), chosen.length);
  },
}]);
