/**
 * Compares the symbol table with the C header (names, order, widths, constants), and the libraries'
 * exported symbols with both.
 *
 * @module
 */
import { DTYPE_CODES, INSTRUCTION_SET_CODES, STATUS_NAMES } from "../lib/ffi/status.ts";
import { KERNEL_SYMBOLS } from "../lib/ffi/nonblocking.ts";
import { ABI_VERSION, OP_SYMBOLS, SETUP_SYMBOLS, SX_BLOCK } from "../lib/ffi/symbols.ts";
import { kernelFolder, openKernelLibrary, readManifest } from "../lib/ffi/locate.ts";
import { assert, assertEquals } from "./helpers/assert.ts";
import { exportedSymbols } from "./helpers/elf.ts";

const HEADER = Deno.readTextFileSync(new URL("../kernels/sx_kernels.h", import.meta.url));
const TABLE_SOURCE = Deno.readTextFileSync(new URL("../lib/ffi/symbols.ts", import.meta.url));

/** Deno's type of each C type that is no pointer. */
const WIDTHS: Readonly<Record<string, Deno.NativeResultType & Deno.NativeType>> = {
  uint32_t: "u32",
  int32_t: "i32",
  sx_status: "i32",
  sx_dtype: "i32",
  int64_t: "i64",
  uint64_t: "u64",
  float: "f32",
};

interface Prototype {
  readonly name: string;
  readonly result: string;
  readonly parameters: readonly { readonly declaration: string; readonly pointer: boolean }[];
}

/** All prototypes of the header, in its order. */
function parseHeader(): Prototype[] {
  const code = HEADER.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^#.*$/gm, "");
  return [...code.matchAll(/(\w+)\s+(sx_\w+)\s*\(([^)]*)\)\s*;/g)].map((match) => {
    const [, result = "", name = "", list = ""] = match;
    const declarations = list.trim() === "void"
      ? []
      : list.split(",").map((text) => text.trim().replaceAll(/\s+/g, " "));
    const parameters = declarations.map((declaration) => ({
      declaration,
      pointer: declaration.includes("*"),
    }));
    return { name, result, parameters };
  });
}

/** The C declarations in the comments of the table's entry of a function. */
function commentsOf(name: string): string[] {
  const entry = TABLE_SOURCE.match(new RegExp(`\\n  ${name}: \\{([\\s\\S]*?)result:`))?.[1] ?? "";
  return [...entry.matchAll(/"\w+",? \/\/ (.*)/g)].map((match) => match[1] ?? "");
}

/** The value of a `#define`. */
function constant(name: string): number {
  const value = HEADER.match(new RegExp(`#define ${name} (\\d+)`))?.[1];
  assert(value !== undefined, `the header must define ${name}`);
  return Number(value);
}

Deno.test("KERNEL_SYMBOLS has the header's functions in the header's order", () => {
  const names = parseHeader().map((prototype) => prototype.name);
  assertEquals([...Object.keys(SETUP_SYMBOLS), ...Object.keys(OP_SYMBOLS)].sort(), names.sort());
  for (const table of [SETUP_SYMBOLS, OP_SYMBOLS]) {
    const inHeader = parseHeader().map(({ name }) => name).filter((name) => name in table);
    assertEquals(Object.keys(table), inHeader);
  }
});

Deno.test("KERNEL_SYMBOLS has the header's parameters, widths and results", () => {
  for (const { name, result, parameters } of parseHeader()) {
    const entry: Deno.ForeignFunction | undefined =
      (KERNEL_SYMBOLS as Readonly<Record<string, Deno.ForeignFunction>>)[name];
    assert(entry !== undefined, `the table must have ${name}`);
    assertEquals(entry.result, WIDTHS[result], `result of ${name}`);
    const pointerType = (type: unknown): boolean =>
      type === "u64" || (type === "buffer" && name in SETUP_SYMBOLS);
    assertEquals(entry.parameters.length, parameters.length, `parameters of ${name}`);
    for (const [i, { declaration, pointer }] of parameters.entries()) {
      const type = entry.parameters[i];
      const where = `${name}: ${declaration} is ${String(type)}`;
      if (pointer) assert(pointerType(type), where);
      else assertEquals(type, WIDTHS[declaration.slice(0, declaration.lastIndexOf(" "))], where);
    }
  }
});

Deno.test("KERNEL_SYMBOLS quotes the header's declaration at each parameter", () => {
  for (const { name, parameters } of parseHeader()) {
    assertEquals(commentsOf(name), parameters.map(({ declaration }) => declaration), name);
  }
});

Deno.test("KERNEL_SYMBOLS has the nonblocking form of every op", () => {
  for (const [name, entry] of Object.entries(OP_SYMBOLS)) {
    assertEquals(
      (KERNEL_SYMBOLS as Readonly<Record<string, unknown>>)[`${name}_nonblocking`],
      { ...entry, name, nonblocking: true },
    );
  }
});

Deno.test("the constants of lib/ffi have the header's values", () => {
  assertEquals(ABI_VERSION, constant("SX_ABI_VERSION"));
  assertEquals(SX_BLOCK, constant("SX_BLOCK"));
  STATUS_NAMES.forEach((name, code) => assertEquals(constant(name), code));
  for (const [name, code] of Object.entries(DTYPE_CODES)) {
    assertEquals(constant(`SX_${name.toUpperCase()}`), code, name);
  }
  for (const [name, code] of Object.entries(INSTRUCTION_SET_CODES)) {
    assertEquals(constant(`SX_ISA_${name.toUpperCase()}`), code, name);
  }
});

const manifest = await readManifest(new URL("MANIFEST.json", kernelFolder()));
for (const { file, backend, tests } of manifest.libraries) {
  Deno.test(`${file} exports the header's functions and nothing else`, async () => {
    const bytes = await Deno.readFile(new URL(file, kernelFolder()));
    assertEquals(exportedSymbols(bytes), parseHeader().map(({ name }) => name).sort());
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
    library.close();
  });
}
