/**
 * Records what llama.cpp computes from small GGUF files, as `tests/golden/gguf.json`:
 * `deno run -A scripts/make_gguf_golden.ts PROGRAM BACKENDS`.
 *
 * PROGRAM is `scripts/llama_logits.cpp`, compiled; BACKENDS the folder of llama.cpp's libraries. The
 * golden was made with those of npm's node-llama-cpp 3 (llama.cpp de3ff81).
 *
 * @module
 */
import { createHash } from "node:crypto";
import { UsageError } from "../lib/errors.ts";
import { GGUF_CASES, GGUF_IDS, type GgufGolden, makeGgufModel } from "./gguf_cases.ts";

const GOLDEN = new URL("../tests/golden/gguf.json", import.meta.url);

if (import.meta.main) await main(Deno.args);

async function main(args: readonly string[]): Promise<void> {
  const [program, backends] = args;
  if (program === undefined || backends === undefined) {
    throw new UsageError("Usage: scripts/make_gguf_golden.ts PROGRAM BACKENDS");
  }
  const cases: GgufGolden[] = [];
  for (const [name, type] of GGUF_CASES) {
    const folder = await Deno.makeTempDir();
    try {
      const path = await makeGgufModel(folder, { name, type });
      const sha256 = createHash("sha256").update(await Deno.readFile(path)).digest("hex");
      const ids = GGUF_IDS.map(String);
      const { success, stdout } = await new Deno.Command(program, {
        args: [backends, path, `${folder}/f32.gguf`, ...ids],
      }).output();
      if (!success) throw new TypeError(`Cannot run llama.cpp on ${name} in ${type}`);
      const lines = new TextDecoder().decode(stdout).trim().split("\n").slice(-2);
      const [own = [], exact = []] = lines.map((line): number[] => JSON.parse(line));
      cases.push({ name, type, sha256, own, exact });
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  }
  const text = cases.map((entry) => `  ${JSON.stringify(entry)}`).join(",\n");
  await Deno.writeTextFile(GOLDEN, `[\n${text}\n]\n`);
}
