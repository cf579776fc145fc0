/**
 * The prebuilt libraries: the manifest's, whole, and built from the sources that lie beside them.
 *
 * @module
 */
import { BACKENDS, digestSources } from "../kernels/digest.ts";
import { readManifest } from "../lib/ffi/locate.ts";
import { verifyLibrary } from "../lib/ffi/manifest.ts";
import { assert, assertEquals, assertLess } from "./helpers/assert.ts";
import { ROOT } from "./helpers/sources.ts";

/** What the repository may carry, all libraries together. */
const MAX_BYTES = 15 * 1024 * 1024;

/** The repository's own, whatever the environment names. */
const FOLDER = new URL("kernels/prebuilt/", ROOT);
const manifest = await readManifest(new URL("MANIFEST.json", FOLDER));

for (const backend of BACKENDS) {
  Deno.test(`the prebuilt libraries for ${backend} are built from the sources beside them`, async () => {
    const digest = await digestSources(new URL("kernels", ROOT).pathname, backend);
    const found = manifest.libraries.filter((library) => library.backend === backend)
      .map(({ sourcesSha256 }) => sourcesSha256);
    const task = `run deno task build:${backend} and commit its output`;
    assertEquals([...new Set(found)], [digest], task);
  });
}

Deno.test("the prebuilt libraries are whole and those of the manifest", async () => {
  for (const wanted of BACKENDS) {
    assert(manifest.libraries.some(({ backend, tests }) => backend === wanted && !tests), wanted);
  }
  for (const entry of manifest.libraries) {
    const url = new URL(entry.file, FOLDER);
    await verifyLibrary(await Deno.readFile(url), { entry, source: url.pathname });
  }
  assertLess(manifest.libraries.reduce((sum, { bytes }) => sum + bytes, 0), MAX_BYTES);
});
