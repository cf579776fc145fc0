/**
 * A report of real runs, opened in a real browser.
 *
 * @module
 */
import { writeReport } from "../../commands/report/report.ts";
import { runRuler } from "../../commands/ruler/ruler.ts";
import { assert, assertEquals, assertMatch, assertNotEquals } from "../helpers/assert.ts";
import type { PageFindings } from "../helpers/browser.ts";
import { fakeScreen, NO_INTERRUPTS } from "../helpers/fake_model.ts";
import { inFolder } from "../helpers/folder.ts";
import { optionsIn, right } from "../helpers/ruler_run.ts";
import { sweep, sweepOptions } from "../helpers/sweep_run.ts";

const BROWSERS = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const browser = BROWSERS.find((path) => {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
});

async function lookAt(path: string): Promise<PageFindings> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", "--no-lock", "--no-config"],
      ...[new URL("../helpers/browser.ts", import.meta.url).href, path, browser ?? ""],
    ],
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test({
  name: "writeReport() writes a page that a browser shows without complaint, by keyboard, too",
  ignore: browser === undefined,
  fn: async () => {
    await inFolder({}, async (folder) => {
      const modes = ["star", "starx"] as const;
      for (const mode of modes) {
        const options = optionsIn(folder, {
          ...{ lengths: [1024, 1280], tasks: ["niah_single_1", "vt"], sampleCount: 2 },
          ...{ processCount: 1, threads: 1, device: "cpu" },
        });
        const plan = { ...options.plan, mode };
        const context = { screen: fakeScreen(), cleanup: NO_INTERRUPTS, args: ["ruler"] };
        await runRuler({ ...options, plan }, context);
      }
      const experiments = modes.map((mode) => `${folder}/results/tiny_${mode}_b256a256`);
      await sweep(sweepOptions(folder), right());
      const calibration = `${folder}/thresholds.json`;
      const kept = { density: [[0.3, 0.5]], kept: [[0.9, 1]] };
      const layers = [[0.9, 0.5], [0.95, 0.95]];
      await Deno.writeTextFile(calibration, JSON.stringify({ layers, before: kept, after: kept }));
      const folders = [...experiments, `${folder}/sweep`, calibration];
      const outputPath = `${folder}/report.html`;
      await writeReport({ folders, outputPath });
      const found = await lookAt(outputPath);
      assertEquals(found.complaints, []);
      assertEquals(found.faults, []);
      // Mean, tasks, density, depth, heads, time; two of the sweep, three of the thresholds.
      assertEquals(found.marks.length, 11);
      for (const count of found.marks) assert(count > 0, found.marks.join(" "));
      assertEquals(found.unnamedImages, 0);
      assert(found.colors.light > 20 && found.colors.dark > 20, JSON.stringify(found.colors));
      assertNotEquals(found.backgrounds[0], found.backgrounds[1]);
      assertMatch(found.tip, /^tiny_starx?_b256a256\nmean at [\d,]+ tokens\n/);
      assertEquals(found.masks.length, 3);
      assert(new Set(found.masks).size > 1, "layers and heads have masks of their own");
      assert(found.opens);
      assertEquals(found.overflow, 0);
    });
  },
});
