/**
 * The kernels' sources are formatted as `.clang-format` says. Other versions of the tool format
 * otherwise: the test is ignored where Debian 12's is not installed.
 *
 * @module
 */
import { assertEquals } from "./helpers/assert.ts";
import { pathsBelow, ROOT } from "./helpers/sources.ts";

const VERSION = 14;

const found = await clangFormat("--version");
const version = Number(/version (\d+)\./.exec(found ?? "")?.[1] ?? NaN);

Deno.test({
  name: `the kernels' sources are formatted by clang-format ${VERSION}`,
  ignore: version !== VERSION,
  fn: async () => {
    const paths = (await pathsBelow("kernels")).filter((path) => /\.(cpp|h|cu|cuh)$/.test(path));
    const faults = await clangFormat("--dry-run", ...paths);
    assertEquals(faults, "", "run `clang-format -i FILE`");
  },
});

/** What the tool says, or undefined where there is none. */
async function clangFormat(...args: readonly string[]): Promise<string | undefined> {
  try {
    const command = new Deno.Command("clang-format", { args: [...args], cwd: ROOT });
    const { stdout, stderr } = await command.output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
