/**
 * The masks that a report draws, against `selectAttentionBlocks()` on the queries and keys that the
 * model itself had, layer by layer and head by head.
 *
 * @module
 */
import { layOut } from "../../commands/report/masks.ts";
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import { selectAttentionBlocks } from "../../lib/attention/selection.ts";
import { TileRecords } from "../../lib/attention/tile_records.ts";
import { openCpuDevice } from "../../lib/device/cpu.ts";
import type { Device } from "../../lib/device/device.ts";
import { stagesOn } from "../../lib/device/stages.ts";
import { RankModel } from "../../lib/engine/rank.ts";
import type { AntidiagonalScoreParams } from "../../lib/ffi/attention_params.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { readModel } from "../../lib/model/read_model.ts";
import { loadWeights } from "../../lib/model/weights.ts";
import { SelfCollective } from "../../lib/parallel/self.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { goldenRequest, MODEL } from "../helpers/prompts.ts";

const HEAD_DIM = 64;

/** The queries of one call, and all keys that they may see: [tokens, heads, head_dim]. */
interface Call {
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly qOffset: number;
  readonly anchorTokens: number;
  readonly queries: Float32Array<ArrayBuffer>;
  readonly keys: Float32Array<ArrayBuffer>;
}

function floatsAt(address: bigint, count: number): Float32Array<ArrayBuffer> {
  const pointer = Deno.UnsafePointer.create(address);
  assert(pointer !== null);
  return new Float32Array(Deno.UnsafePointerView.getArrayBuffer(pointer, 4 * count).slice(0));
}

function readCall(params: AntidiagonalScoreParams): Call {
  const { kv, qTokens, qHeads: queryHeads, qOffset, q } = params;
  const { kvHeads, prefixTokens: anchorTokens, keyTokens } = kv;
  const segments = [
    {
      ...{ address: kv.prefixKeys, tokens: anchorTokens },
      ...{ tokenStride: kv.prefixTokenStride, headStride: kv.prefixHeadStride },
    },
    {
      ...{ address: kv.keys, tokens: keyTokens },
      ...{ tokenStride: kv.tokenStride, headStride: kv.headStride },
    },
  ];
  const keys = new Float32Array((anchorTokens + keyTokens) * kvHeads * HEAD_DIM);
  let first = 0;
  for (const { address, tokens, tokenStride, headStride } of segments) {
    if (tokens === 0) continue;
    for (let head = 0; head < kvHeads; head++) {
      const begin = address + 4n * BigInt(head * headStride);
      const all = floatsAt(begin, (tokens - 1) * tokenStride + HEAD_DIM);
      for (let token = 0; token < tokens; token++) {
        const row = all.subarray(token * tokenStride).subarray(0, HEAD_DIM);
        keys.set(row, ((first + token) * kvHeads + head) * HEAD_DIM);
      }
    }
    first += tokens;
  }
  const queries = floatsAt(q, qTokens * queryHeads * HEAD_DIM);
  return { queryHeads, kvHeads, qOffset, anchorTokens, queries, keys };
}

/** The same device, whose calls of the antidiagonal mass are noted. */
function noting(device: Device, calls: Call[]): Device {
  const kernels = new Proxy(device.kernels, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        const [op, params] = args;
        if (name === "run" && op === "sx_antidiagonal_score") {
          calls.push(readCall(params as AntidiagonalScoreParams));
        }
        return value.apply(target, args);
      };
    },
  });
  return new Proxy(device, {
    get(target, name) {
      if (name === "kernels") return kernels;
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Encodes a context, and gives its masks as a report has them, with the calls of the mass. */
async function encode(options: PlanOptions, contextIds: Int32Array) {
  const calls: Call[] = [];
  const config = await readModel(MODEL, {});
  assertEquals(config.headDim, HEAD_DIM);
  const plan = checkPlan(options);
  const precision = PRECISIONS.f32;
  using inner = await openCpuDevice({ threads: 1 });
  const stages = stagesOn([noting(inner, calls)], config);
  using weights = await loadWeights(stages, { folder: MODEL, config, precision });
  using model = await RankModel.assemble({
    ...{ config, stages, weights, plan, precision, chunkTokens: 512 },
  });
  const records = TileRecords.of({ withMasks: true }, { config, plan });
  const collective = new SelfCollective();
  using _encoded = await model.encode(contextIds, {
    ...{ collective, room: 1, records, onProgress: () => {} },
  });
  const file = {
    sample: 0,
    contextTokens: contextIds.length,
    cut: plan.cut,
    masks: records?.recorded.masks ?? [],
  };
  const set = layOut(file, { experiment: "x", length: contextIds.length, task: "x" });
  return { calls, set, layers: config.layerCount - 1, selection: plan.selection };
}

async function contextOf(tokens: number): Promise<Int32Array> {
  const { contextIds } = await goldenRequest({ task: "niah_multikey_1", repeat: 6 });
  assert(contextIds.length >= tokens);
  return contextIds.subarray(0, tokens);
}

// The mass of a tile depends on where the keys end, if within a tile: then one chunk has all rows.
for (
  const [name, plan, tokens] of [
    ["xattn, three chunks", { mode: "xattn", threshold: 0.8 }, 1280],
    ["xattn, one chunk that ends within a tile", { mode: "xattn", threshold: 0.8 }, 500],
    [
      "starx, blocks behind an anchor",
      { mode: "starx", blockTokens: 512, anchorTokens: 256, threshold: 0.8 },
      1536,
    ],
  ] as const
) {
  Deno.test(`a report's masks are those of selectAttentionBlocks(): ${name}`, async () => {
    const { calls, set, layers, selection } = await encode(plan, await contextOf(tokens));
    assert(selection !== undefined && calls.length >= layers);
    assertEquals(set.layers, layers);
    let computed = 0;
    for (const [index, call] of calls.entries()) {
      const { queryHeads, kvHeads, qOffset, anchorTokens, keys } = call;
      // What stands in front of a call's queries is another call's.
      const queries = new Float32Array(keys.length / kvHeads * queryHeads);
      queries.set(call.queries, qOffset * queryHeads * HEAD_DIM);
      const { shape, mask } = await selectAttentionBlocks({
        ...{ queries, keys, queryHeads, kvHeads, headDim: HEAD_DIM },
        ...{ stride: selection.stride, threshold: plan.threshold },
      });
      const layer = index % layers;
      const chunk = Math.floor(index / layers);
      const [, width] = shape;
      const start = plan.mode === "starx" ? chunk * 4 : 0;
      const anchorTiles = anchorTokens / 128;
      for (let head = 0; head < queryHeads; head++) {
        const drawn = set.masks[layer]?.[head];
        assert(drawn !== undefined);
        for (let row = qOffset / 128; row < width; row++) {
          const found = Array.from({ length: width }, (_, column) => {
            const place = column < anchorTiles ? column : start + column - anchorTiles;
            return drawn[(start + row - anchorTiles) * set.tiles + place];
          });
          const expected = [...mask.subarray((head * width + row) * width).subarray(0, width)];
          assertEquals(found, expected, `layer ${layer}, head ${head}, row ${row} of ${chunk}`);
          computed += expected.reduce((sum, tile) => sum + tile, 0);
        }
      }
    }
    // Nothing else is drawn.
    const drawn = set.masks.flat().flatMap((mask) => [...mask]).reduce((sum, tile) => sum + tile);
    assertEquals(drawn, computed);
    assert(drawn > 0);
  });
}
