/**
 * Models as users have them: what public bug reports were about.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import { PRECISIONS } from "../../lib/model/precision.ts";
import { loadModel } from "../../mod.ts";
import { assert, assertAlmostEquals, assertEquals, assertRejects } from "../helpers/assert.ts";
import { sharedFolder } from "../helpers/shared.ts";

const SHARED = sharedFolder();

/** The largest logits of each case's first token, from a forward pass in float64. */
const RIGHT: Readonly<Record<string, readonly (readonly [number, number])[]>> = {
  head_dim_100: [[63, 52.3463], [152, 35.9682], [40, 35.3639]],
  rope_linear: [[172, 5.2403], [125, 4.2608], [137, 4.0925]],
  no_model_prefix: [[168, 4.1164], [172, 3.9762], [136, 3.7534]],
  unaligned_header: [[168, 4.1164], [172, 3.9762], [136, 3.7534]],
};

const WRONG: Readonly<Record<string, string>> = {
  nan_weights:
    'Cannot choose token 0 of the answer to sample "prompt" as all logits must be finite',
  lfs_pointer: "it is a Git LFS pointer, not the file itself",
  tokenizer_larger_than_vocab: "258",
};

async function generate(name: string): Promise<readonly (readonly [number, number])[]> {
  const folder = `${SHARED}/cases/${name}`;
  const [line = ""] = (await Deno.readTextFile(`${folder}/in.jsonl`)).split("\n");
  const { input_context: context, input_query: query } = JSON.parse(line);
  await using model = await loadModel(`${folder}/model`, {
    device: "cpu",
    precision: PRECISIONS.f32,
  });
  const { topLogits } = await model.generate(
    { context, query },
    { tokensToGenerate: 1, topLogits: 3 },
  );
  return topLogits;
}

for (const [name, expected] of Object.entries(RIGHT)) {
  Deno.test({
    name: `generate() gives the right logits for ${name}`,
    ignore: SHARED === undefined,
    fn: async () => {
      const found = await generate(name);
      assertEquals(found.map(([id]) => id), expected.map(([id]) => id));
      for (const [i, [, logit]] of expected.entries()) {
        assertAlmostEquals(found[i]?.[1] ?? NaN, logit, 1e-4);
      }
    },
  });
}

for (const [name, message] of Object.entries(WRONG)) {
  Deno.test({
    name: `generate() throws for ${name}`,
    ignore: SHARED === undefined,
    fn: async () => {
      const error = await assertRejects(() => generate(name), Error, message);
      assert(error instanceof FileError || name === "tokenizer_larger_than_vocab", error.name);
    },
  });
}
