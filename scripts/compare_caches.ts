/**
 * Compares the logits that keys and values of 8 bits give with those of f32, on prompts of a model's own:
 * `deno run -A scripts/compare_caches.ts [--model=models/starx-tiny] [--dtype=f32] [--mode=dense]
 * [--count=5] FILE...`, with files of JSON lines as `infer` takes them (RULER's data, for example).
 *
 * Prints, for each kind of cache, the mean and the lowest cosine of the logits of the first token
 * behind a prompt, and the mean of what they are off by in standard deviations.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { ATTENTION_MODES, type AttentionMode } from "../lib/attention/plan.ts";
import { loadModel } from "../lib/engine/load_model.ts";
import type { Prompt } from "../lib/engine/model_options.ts";
import { CACHE_KINDS, type CacheKind, PRECISIONS } from "../lib/model/precision.ts";
import { readSamples } from "../commands/shared/samples.ts";
import { distance } from "./compare_weights.ts";

/** How the model runs. */
interface Run {
  readonly model: string;
  readonly mode: AttentionMode;
  readonly dtype: "bf16" | "f32";
  readonly prompts: readonly Prompt[];
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      model: { type: "string", default: "models/starx-tiny" },
      dtype: { type: "string", default: "f32" },
      mode: { type: "string", default: "dense" },
      count: { type: "string", default: "5" },
    },
  });
  const mode = ATTENTION_MODES.find((name) => name === values.mode) ?? "dense";
  const prompts: Prompt[] = [];
  for (const path of positionals) {
    let left = Number(values.count);
    for await (const { context, query } of readSamples(path, {})) {
      if (left-- <= 0) break;
      prompts.push({ context, query, sample: path });
    }
  }
  const dtype = values.dtype === "bf16" ? "bf16" : "f32";
  const run = { model: values.model, mode, dtype, prompts } as const;
  const exact = await logitsOf({ ...run, dtype: "f32" }, "f32");
  for (const cache of CACHE_KINDS) {
    const found = await logitsOf(run, cache);
    const all = found.map((logits, i) => distance(logits, exact[i] ?? new Float64Array(0)));
    const cosines = all.map(({ cosine }) => cosine);
    const off = all.reduce((sum, { error }) => sum + error, 0) / all.length;
    const mean = cosines.reduce((sum, cosine) => sum + cosine, 0) / cosines.length;
    print(
      `${cache.padEnd(4)} cosine ${mean.toFixed(6)}, lowest ${Math.min(...cosines).toFixed(6)}, ` +
        `off by ${off.toFixed(4)} standard deviations, of ${all.length} prompts`,
    );
  }
}

/** The logits behind each prompt. */
async function logitsOf(run: Run, cache: CacheKind): Promise<Float64Array[]> {
  const { mode, dtype, prompts } = run;
  const blocks = mode.startsWith("star") ? { blockTokens: 1024, anchorTokens: 1024 } : {};
  const precision = { ...PRECISIONS[dtype], cache };
  await using model = await loadModel(run.model, { device: "cpu", mode, ...blocks, precision });
  const count = model.config.vocabularySize;
  const all: Float64Array[] = [];
  for (const prompt of prompts) {
    const { topLogits } = await model.generate(prompt, { tokensToGenerate: 1, topLogits: count });
    const logits = new Float64Array(count);
    for (const [id, logit] of topLogits) logits[id] = logit;
    all.push(logits);
  }
  return all;
}

function print(line: string): void {
  Deno.stdout.writeSync(new TextEncoder().encode(`${line}\n`));
}

if (import.meta.main) await main();
