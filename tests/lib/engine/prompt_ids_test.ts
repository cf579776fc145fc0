import { checkPlan } from "../../../lib/attention/plan.ts";
import { promptIds } from "../../../lib/engine/prompt_ids.ts";
import { RequestError } from "../../../lib/errors.ts";
import type { TextTokenizer } from "../../../lib/model/tokenizer.ts";
import { assertEquals, assertRejects } from "../../helpers/assert.ts";

/** Knows the ids 0 to 9. */
const tokenizer: TextTokenizer = {
  encode: (text) => Int32Array.from(text, Number),
  count: (text) => text.length,
  decode: (ids) => ids.map((id) => id < 10 ? String(id) : "").join(""),
};

Deno.test("promptIds() throws if an id has no row in the embedding", async () => {
  const of = async (context: string | Int32Array, query: string | Int32Array) => {
    const plan = checkPlan({ mode: "ring" });
    return await promptIds({ context, query, sample: "s" }, { tokenizer, plan, vocabularySize: 8 });
  };
  const { contextIds, queryIds } = await of("07", Int32Array.of(3));
  assertEquals([[...contextIds], [...queryIds]], [[0, 7], [3]]);
  const rule =
    "Cannot run sample s as ids must be at least 0 and below vocab_size of config.json, " +
    "which is 8: ";
  const cases = [
    ["19", "1", 'the token "9" has the id 9 in tokenizer.json'],
    [Int32Array.of(5), Int32Array.of(1, 12), "current value is 12"],
    [Int32Array.of(0, -1), "1", "current value is -1"],
  ] as const;
  for (const [context, query, found] of cases) {
    await assertRejects(() => of(context, query), RequestError, rule + found);
  }
});
