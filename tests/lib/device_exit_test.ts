/**
 * How a process ends that never disposes of its device.
 *
 * @module
 */
import { assertEquals, assertStringIncludes } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";

const CPU = new URL("../../lib/device/cpu.ts", import.meta.url).href;

/** Ends a program that has opened a CPU with several threads. */
async function endBy(folder: string, line: string) {
  const program = `${folder}/program.ts`;
  await Deno.writeTextFile(
    program,
    `import { openCpuDevice } from "${CPU}";
const device = await openCpuDevice({ threads: 4 });
console.log(device.kind);
${line}
`,
  );
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", program],
    env: { NO_COLOR: "1" },
  }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return { code, stdout: text(stdout), stderr: text(stderr) };
}

Deno.test("a program that fails without disposing of its device shows its own error", () =>
  inFolder({}, async (folder) => {
    const { code, stdout, stderr } = await endBy(folder, `throw new Error("its own words");`);
    assertStringIncludes(stderr, "Error: its own words");
    assertEquals([code, stdout], [1, "cpu\n"]);
  }));

Deno.test("a program that never disposes of its device ends as it should", () =>
  inFolder({}, async (folder) => {
    const { code, stdout, stderr } = await endBy(folder, "");
    assertEquals([code, stdout, stderr], [0, "cpu\n", ""]);
  }));
