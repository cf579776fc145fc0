import { assertEquals, assertMatch } from "../helpers/assert.ts";
import { runScript } from "../helpers/script.ts";

const SCRIPT = "scripts/sanitize.ts";

Deno.test("sanitize names the places where compute-sanitizer is not", async () => {
  const missing = "/nowhere/compute-sanitizer";
  const { code, stdout, stderr } = await runScript(SCRIPT, [], {
    env: { COMPUTE_SANITIZER: missing },
  });
  assertEquals({ code, stdout }, { code: 3, stdout: "" });
  assertMatch(stderr, /^sanitize: Cannot sanitize as compute-sanitizer is missing; .*CUDA toolkit/);
  assertMatch(stderr, new RegExp(`tried ${missing}\\n$`));
});

Deno.test("sanitize refuses a tool that it does not know", async () => {
  const { code, stderr } = await runScript(SCRIPT, ["--tool", "valgrind"], { env: {} });
  assertEquals(code, 2);
  assertMatch(
    stderr,
    /'--tool' must be memcheck, racecheck or synccheck: current value is valgrind\n$/,
  );
});
