/**
 * Compares what is generated from the C header with the header and with what a C compiler makes of
 * it, and the libraries' exported symbols with both.
 *
 * @module
 */
import { DTYPE_CODES, INSTRUCTION_SET_CODES, STATUS_NAMES } from "../lib/ffi/status.ts";
import { GUARD_SYMBOLS } from "../lib/ffi/mapped_guard.ts";
import { KERNEL_SYMBOLS } from "../lib/ffi/nonblocking.ts";
import { PARAM_WRITERS } from "../lib/ffi/param_structs.ts";
import { StructMemory } from "../lib/ffi/struct_views.ts";
import { ABI_VERSION, OP_SYMBOLS, type OpName, SETUP_SYMBOLS } from "../lib/ffi/symbols.ts";
import { kernelFolder, openKernelLibrary, readManifest } from "../lib/ffi/locate.ts";
import { camelCase, generate } from "../kernels/generate.ts";
import { headerText, leavesOf, parseHeader } from "../kernels/header.ts";
import { assert, assertEquals } from "./helpers/assert.ts";
import { exportedSymbols } from "./helpers/elf.ts";

const TEXT = headerText();
const HEADER = parseHeader(TEXT);
/** What the CPU library exports beside. */
const MAPPED_FILES = parseHeader(
  Deno.readTextFileSync(new URL("../kernels/cpu/mapped_files.h", import.meta.url)),
);

Deno.test("lib/ffi has what `deno task generate` makes of the header", async () => {
  for (const [name, text] of Object.entries(generate(TEXT))) {
    const found = await Deno.readTextFile(new URL(`../lib/ffi/${name}`, import.meta.url));
    assert(found === text, `lib/ffi/${name} is stale: run \`deno task generate\``);
  }
});

Deno.test("GUARD_SYMBOLS has the functions of mapped_files.h, with as many parameters", () => {
  const found = Object.entries(GUARD_SYMBOLS).map(([name, { parameters }]) => [
    name,
    parameters.length,
  ]);
  const expected = MAPPED_FILES.prototypes.map(({ name, parameters }) => [name, parameters.length]);
  assertEquals(found, expected);
});

Deno.test("every op takes its context and its own structure, and every structure is an op's", () => {
  for (const { name, result, parameters } of HEADER.prototypes) {
    if (name in SETUP_SYMBOLS) continue;
    assertEquals(parameters, ["sx_context* context", `const ${name}_params* params`]);
    assertEquals(result, "sx_status");
  }
  const used = [...HEADER.structs.values()].flatMap(({ fields }) => fields.map(({ type }) => type));
  const owners = new Set([...HEADER.ops.values(), ...used]);
  for (const name of HEADER.structs.keys()) assert(owners.has(name), `${name} must be used`);
});

Deno.test("parseHeader() lays structures out as the C compiler does", async () => {
  const checks = [...HEADER.structs.values()].flatMap(({ name, bytes, fields }) => [
    `_Static_assert(sizeof(${name}) == ${bytes}, "${name}");`,
    ...fields.map((field) =>
      `_Static_assert(offsetof(${name}, ${field.name}) == ${field.offset}, "${field.name}");`
    ),
  ]);
  const folder = new URL("../kernels/", import.meta.url).pathname;
  const source = `#include <stddef.h>\n#include "sx_kernels.h"\n${checks.join("\n")}\n`;
  const gcc = new Deno.Command("gcc", {
    args: ["-fsyntax-only", "-I", folder, "-x", "c", "-"],
    stdin: "piped",
    stderr: "piped",
  }).spawn();
  const writer = gcc.stdin.getWriter();
  await writer.write(new TextEncoder().encode(source));
  await writer.close();
  const { success, stderr } = await gcc.output();
  assert(success, new TextDecoder().decode(stderr));
});

Deno.test("PARAM_WRITERS put each field where C reads it", () => {
  for (const [op, struct] of HEADER.ops) {
    for (const leaf of leavesOf(HEADER, struct)) {
      const memory = new StructMemory(HEADER.structs.get(struct)?.bytes ?? 0);
      const path = leaf.path.map(camelCase);
      const value = leaf.kind === "pointer" ? 2n ** 63n + 5n : SAMPLES[leaf.kind];
      PARAM_WRITERS[op as OpName](memory, emptyParams(struct, { path, value }) as never);
      const view = new DataView(memory.u64.buffer);
      const read = {
        pointer: () => view.getBigUint64(leaf.offset, true),
        i64: () => Number(view.getBigInt64(leaf.offset, true)),
        i32: () => view.getInt32(leaf.offset, true),
        f32: () => view.getFloat32(leaf.offset, true),
      }[leaf.kind]();
      assertEquals(read, value, `${op}: ${path.join(".")}`);
      const others = new Uint8Array(memory.u64.buffer);
      others.fill(0, leaf.offset, leaf.offset + (/i32|f32/.test(leaf.kind) ? 4 : 8));
      assert(others.every((byte) => byte === 0), `${op}: ${path.join(".")} and nothing else`);
    }
  }
});

/** A number of each kind that fills its width: negative where it may be, above 32 bits. */
const SAMPLES = { i64: -(2 ** 40) - 3, i32: -7, f32: 0.1875 } as const;

/** All fields of a structure zero but one. */
function emptyParams(
  struct: string,
  one: { path: readonly string[]; value: bigint | number },
): Record<string, unknown> {
  const entries = (HEADER.structs.get(struct)?.fields ?? []).map(({ name, kind, type }) => {
    const [first, ...rest] = one.path;
    const isIt = camelCase(name) === first;
    if (kind === "struct") {
      return [camelCase(name), emptyParams(type, { ...one, path: isIt ? rest : [] })];
    }
    return [camelCase(name), isIt ? one.value : kind === "pointer" ? 0n : 0];
  });
  return Object.fromEntries(entries);
}

Deno.test("KERNEL_SYMBOLS has the nonblocking form of every op", () => {
  for (const [name, entry] of Object.entries(OP_SYMBOLS)) {
    assertEquals(
      (KERNEL_SYMBOLS as Readonly<Record<string, unknown>>)[`${name}_nonblocking`],
      { ...entry, name, nonblocking: true },
    );
  }
});

Deno.test("the constants of lib/ffi have the header's values", () => {
  STATUS_NAMES.forEach((name, code) => assertEquals(HEADER.constant(name), code));
  for (const [name, code] of Object.entries(DTYPE_CODES)) {
    assertEquals(HEADER.constant(`SX_${name.toUpperCase()}`), code, name);
  }
  for (const [name, code] of Object.entries(INSTRUCTION_SET_CODES)) {
    assertEquals(HEADER.constant(`SX_ISA_${name.toUpperCase()}`), code, name);
  }
});

const manifest = await readManifest(new URL("MANIFEST.json", kernelFolder()));
for (const { file, backend, tests } of manifest.libraries) {
  Deno.test(`${file} exports the headers' functions and nothing else`, async () => {
    const bytes = await Deno.readFile(new URL(file, kernelFolder()));
    const more = backend === "cpu" ? MAPPED_FILES.prototypes : [];
    const names = [...HEADER.prototypes, ...more].map(({ name }) => name);
    assertEquals(exportedSymbols(bytes), names.sort());
  });

  // Needs no GPU: the library looks for a driver only when it is asked for a device.
  Deno.test(`${file} can be opened, its functions bound`, async () => {
    assert(backend === "cpu" || backend === "cuda", `the backend of ${file} must be known`);
    const library = await openKernelLibrary({ backend, tests });
    assertEquals(library.abiVersion, ABI_VERSION);
    const text = new Uint8Array(256);
    assertEquals(library.functions.sx_describe(text, BigInt(text.length)), 0);
    const description: unknown = JSON.parse(
      new TextDecoder().decode(text.subarray(0, text.indexOf(0))),
    );
    assertEquals((description as Record<string, unknown>).backend, backend);
    const noContext = library.functions.sx_argmax(0n, 0n);
    assertEquals(STATUS_NAMES[noContext], "SX_INVALID_ARGUMENT");
    library.close();
  });
}
