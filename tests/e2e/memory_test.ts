/**
 * A rank that gets no memory: the run says so in a line, and is continued without a loss.
 *
 * @module
 */
import { buildFaults } from "../../scripts/torture/crashes.ts";
import { countRequests, runMemory } from "../../scripts/torture/memory.ts";
import { References } from "../../scripts/torture/runs.ts";
import { assert, assertEquals, assertMatch } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const hasCompiler = await new Deno.Command("g++", { args: ["--version"] }).output()
  .then(({ success }) => success, () => false);

Deno.test({
  name: "a rank that gets no memory while it loads or computes ends the run with 4 and one line",
  ignore: !hasCompiler || Deno.build.os !== "linux",
  fn: () =>
    inFolder({}, async (folder) => {
      const library = await buildFaults(folder);
      const references = new References();
      const count = await countRequests(library);
      assert(count > 4, `${count} requests`);
      // The first is the model's; the last ones are made for a step.
      for (const refused of [1, count - 1, count]) {
        const { code, stderr, faults } = await runMemory(refused, { library, references });
        assertEquals(faults, [], `request ${refused} of ${count}`);
        assertEquals(code, 4, `request ${refused} of ${count}: ${stderr}`);
        assertMatch(stderr, /^error: .*(memory|OUT_OF_MEMORY)/m);
      }
    }),
});
