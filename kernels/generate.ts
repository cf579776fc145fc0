/**
 * Writes the modules of `lib/ffi` that follow from `sx_kernels.h`: `deno task generate`.
 *
 * @module
 */
import { type Header, headerText, leavesOf, parseHeader, type Prototype } from "./header.ts";

const TARGET = new URL("../lib/ffi/", import.meta.url);

/** Deno's type of each C type that is no pointer. */
const WIDTHS: Readonly<Record<string, string>> = {
  uint32_t: "u32",
  int32_t: "i32",
  sx_status: "i32",
  sx_dtype: "i32",
  int64_t: "i64",
  uint64_t: "u64",
  float: "f32",
};
/** Pointers that Deno turns into an address itself, as JavaScript owns what they point to. */
const OUTPUTS = /^(char|uint64_t)\* out$/;

const NOTE = "This file is generated from `kernels/sx_kernels.h` by `deno task generate`: do not " +
  "edit it.";

if (import.meta.main) {
  const files = generate(headerText());
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(new URL(name, TARGET), text);
  }
}

/** The files of `lib/ffi` that a header's text demands: their names and contents. */
export function generate(text: string): Readonly<Record<string, string>> {
  const header = parseHeader(text);
  return {
    "symbols.ts": symbolsSource(header),
    "params.ts": paramsSource(header),
    "param_structs.ts": structsSource(header),
  };
}

function symbolsSource(header: Header): string {
  const setup = header.prototypes.filter(({ name }) => !header.ops.has(name));
  const ops = header.prototypes.filter(({ name }) => header.ops.has(name));
  return `/**
 * The functions of \`kernels/sx_kernels.h\` as Deno binds them.
 *
 * Pointers cross as \`u64\` (a \`bigint\` costs nothing to pass), but the small out-parameters of the
 * functions that are no ops, which are \`buffer\`.
 *
 * ${NOTE}
 *
 * @module
 */

/** The version of the interface that this table describes: \`SX_ABI_VERSION\`. */
export const ABI_VERSION = ${header.constant("SX_ABI_VERSION")};

/** Tokens along a side of a tile of block-sparse attention: \`SX_TILE\`. */
export const TILE_TOKENS = ${header.constant("SX_TILE")};

/** Library, context and memory. Each parameter is commented with its C declaration. */
export const SETUP_SYMBOLS = {
${setup.map(symbolSource).join("\n")}
} as const satisfies Deno.ForeignLibraryInterface;

/** The ops. Each parameter is commented with its C declaration. */
export const OP_SYMBOLS = {
${ops.map(symbolSource).join("\n")}
} as const satisfies Deno.ForeignLibraryInterface;

/** The C name of an op. */
export type OpName = keyof typeof OP_SYMBOLS;
`;
}

function symbolSource({ name, result, parameters }: Prototype): string {
  const end = `    result: "${WIDTHS[result]}",\n  },`;
  if (parameters.length === 0) return `  ${name}: { parameters: [], result: "${WIDTHS[result]}" },`;
  const lines = parameters.map((declaration) => {
    const type = declaration.includes("*")
      ? OUTPUTS.test(declaration) ? "buffer" : "u64"
      : WIDTHS[declaration.slice(0, declaration.lastIndexOf(" "))];
    return `      "${type}", // ${declaration}\n`;
  });
  return `  ${name}: {\n    parameters: [\n${lines.join("")}    ],\n${end}`;
}

function paramsSource(header: Header): string {
  const interfaces = [...header.structs.values()].map(({ name, fields }) => {
    const lines = fields.map(({ name: field, kind, type }) => {
      const own = kind === "pointer" ? "bigint" : kind === "struct" ? typeName(type) : "number";
      return `  readonly ${camelCase(field)}: ${own}; // ${type} ${field}\n`;
    });
    return `/** \`${name}\`. */\nexport interface ${typeName(name)} {\n${lines.join("")}}\n`;
  });
  const table = [...header.ops].map(([op, struct]) => `  readonly ${op}: ${typeName(struct)};\n`);
  return `/**
 * What the ops of \`kernels/sx_kernels.h\` take, which says what each field means.
 *
 * Pointers are addresses, 0n being null; sizes are whole numbers; dtypes are those of \`status.ts\`.
 *
 * ${NOTE}
 *
 * @module
 */

${interfaces.join("\n")}
/** What each op takes. */
export interface OpParams {
${table.join("")}}
`;
}

function structsSource(header: Header): string {
  const imports = ["OpParams", ...[...header.ops.values()].map(typeName)].sort();
  const writers = [...header.ops].map(([op, struct]) => {
    const lines = leavesOf(header, struct).map(({ path, kind, offset }) => {
      const value = `p.${path.map(camelCase).join(".")}`;
      if (kind === "pointer") return `    to.u64[${offset / 8}] = ${value};\n`;
      if (kind === "i64") return `    writeSize(to.i32, ${offset / 4}, ${value});\n`;
      if (kind === "i32") return `    writeInt(to.i32, ${offset / 4}, ${value});\n`;
      return `    to.${kind}[${offset / 4}] = ${value};\n`;
    });
    return `  ${op}(to: StructViews, p: ${typeName(struct)}): void {\n${lines.join("")}  },\n`;
  });
  const sizes = [...header.ops].map(([op, struct]) =>
    `  ${op}: ${header.structs.get(struct)?.bytes ?? 0},\n`
  );
  return `/**
 * Writes what an op takes as C lays it out.
 *
 * ${NOTE}
 *
 * @module
 */
import type {
${imports.map((name) => `  ${name},\n`).join("")}} from "./params.ts";
import { type StructViews, writeInt, writeSize } from "./struct_views.ts";

/** The bytes of each op's structure. */
export const PARAM_BYTES = {
${sizes.join("")}} as const satisfies Readonly<Record<keyof OpParams, number>>;

/** Writes the structure of each op to the beginning of some memory. */
export const PARAM_WRITERS: {
  readonly [K in keyof OpParams]: (to: StructViews, params: OpParams[K]) => void;
} = {
${writers.join("")}};
`;
}

/** \`sx_key_mean_params\`: \`KeyMeanParams\`. */
function typeName(struct: string): string {
  const name = camelCase(struct.replace(/^sx_/, ""));
  return name[0]?.toUpperCase() + name.slice(1);
}

/** `q_tokens`: `qTokens`. */
export function camelCase(name: string): string {
  return name.replaceAll(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
