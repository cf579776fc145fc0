/**
 * The prebuilt libraries: the manifest's, whole, and built from the sources that lie beside them.
 *
 * @module
 */
import { digestSources } from "../kernels/digest.ts";
import { kernelFolder, readManifest } from "../lib/ffi/locate.ts";
import { verifyLibrary } from "../lib/ffi/manifest.ts";
import { assert, assertEquals, assertLess } from "./helpers/assert.ts";
import { ROOT } from "./helpers/sources.ts";

/** What the repository may carry, all libraries together. */
const MAX_BYTES = 15 * 1024 * 1024;

const manifest = await readManifest(new URL("MANIFEST.json", kernelFolder()));

Deno.test("the prebuilt libraries are built from the sources beside them", async () => {
  const digest = await digestSources(new URL("kernels", ROOT).pathname, ["cpu", "reference"]);
  assertEquals(manifest.sourcesSha256, digest, "run deno task build:cpu and commit its output");
});

Deno.test("the prebuilt libraries are whole and those of the manifest", async () => {
  assert(manifest.libraries.some(({ backend, tests }) => backend === "cpu" && !tests));
  for (const entry of manifest.libraries) {
    const url = new URL(entry.file, kernelFolder());
    await verifyLibrary(await Deno.readFile(url), { entry, source: url.pathname });
  }
  assertLess(manifest.libraries.reduce((sum, { bytes }) => sum + bytes, 0), MAX_BYTES);
});
