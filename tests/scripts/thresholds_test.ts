/**
 * XAttention's tables of thresholds: read from Python without running it.
 *
 * @module
 */
import { pythonTable } from "../../scripts/convert_thresholds.ts";
import { thresholdOf } from "../../commands/shared/threshold_flag.ts";
import { FileError } from "../../lib/errors.ts";
import { assertEquals, assertMatch, assertThrows } from "../helpers/assert.ts";
import { inFolder } from "../helpers/folder.ts";
import { runScript } from "../helpers/script.ts";

const WHERE = { name: "llama_fuse_16", path: "t.py" };

Deno.test("pythonTable() reads the list of a name", () => {
  const text = `import torch
llama_fuse_8 = [[1, 2]]
# llama_fuse_16 = [[3]]
llama_fuse_16 = [[9.3000e-01, 0.0000e+00,  # one layer
  4.0075e-04], [.5, 1., -2,
  ],
]
llama_fuse_4 = [[5]]
`;
  assertEquals(pythonTable(text, WHERE), [[0.93, 0, 0.00040075], [0.5, 1, -2]]);
  for (const call of ["np.array(V)", "torch.tensor( (V) )", "(V)", "\\\n V".replace("\\\n", "")]) {
    const value = call.replace("V", "[[1, 0.25]]");
    assertEquals(pythonTable(`llama_fuse_16 = ${value}\n`, WHERE), [[1, 0.25]], call);
  }
});

Deno.test("pythonTable() says where something else stands", () => {
  const cases: readonly (readonly [string, string])[] = [
    ["x = [[1]]", "t.py as it must give llama_fuse_16 a value"],
    ["llama_fuse_16 = [1, 2]", "line 1 has '1' where a list is expected"],
    ["llama_fuse_16 = [[1,\n2 3]]", "line 2 has '3' where a comma is expected"],
    ["llama_fuse_16 = [[1, x]]", "has 'x' where a number is expected"],
    ["llama_fuse_16 = other", "has 'o' where a list is expected"],
    ["llama_fuse_16 = [[1]", "has 'the file's end' where a comma is expected"],
    ["llama_fuse_16 = __import__('os').system('x')", "has ''' where a list is expected"],
  ];
  for (const [text, message] of cases) {
    assertThrows(() => pythonTable(text, WHERE), FileError, message);
  }
});

Deno.test("convert_thresholds.ts makes a file for --threshold of a checkout", async () => {
  const rows = Array.from({ length: 32 }, (_, i) => Array.from({ length: 32 }, () => i / 32));
  const path = "xattn/threshold/llama_threshold.py";
  const text = `llama_fuse_8 = [[2]]\nllama_fuse_16 = ${JSON.stringify(rows)}\n`;
  await inFolder({ [path]: text }, async (folder) => {
    const output = `${folder}/t.json`;
    const convert = (...args: string[]) =>
      runScript("scripts/convert_thresholds.ts", [...args, "-o", output], { env: {} });
    const { code, stderr } = await convert(folder);
    assertEquals([code, stderr], [0, ""]);
    const table = { stride: 16, layers: rows, model: null, file: output };
    assertEquals(thresholdOf(output), table);
    const eight = await convert(`${folder}/${path}`, "--name", "llama_fuse_8");
    assertEquals(eight.code, 3);
    assertMatch(eight.stderr, /must have layers\[0\]\[0\] from 0 to 1: found 2\n$/);
    assertEquals((await convert(folder, "--name", "llama_fuse")).code, 2);
    assertEquals((await convert(`${folder}/none`)).code, 3);
  });
});
