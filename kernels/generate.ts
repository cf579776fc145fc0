/**
 * Writes the modules of `lib/ffi` that follow from `sx_kernels.h`: `deno task generate`.
 *
 * @module
 */
import { type Header, headerText, parseHeader, type Prototype } from "./header.ts";

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

/** What `deno fmt` lets a line have. */
const LINE_WIDTH = 100;

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
  const attention = attentionTypes(text);
  return {
    "symbols.ts": symbolsSource(header),
    ...paramSources(header, attention),
    "op_params.ts": opsSource(header, attention),
    "param_structs.ts": structsSource(header, attention),
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

/** The set that multiplies few rows, in an instruction set's number: times this. */
export const ISA_ROWS = ${header.constant("SX_ISA_ROWS")};

/** Tokens along a side of a tile of block-sparse attention: \`SX_TILE\`. */
export const TILE_TOKENS = ${header.constant("SX_TILE")};

/** Rows of a panel of 8-bit weights: \`SX_PANEL_ROWS\`. */
export const PANEL_ROWS = ${header.constant("SX_PANEL_ROWS")};

/** What the depth of a panel is a multiple of: \`SX_PANEL_DEPTH\`. */
export const PANEL_DEPTH = ${header.constant("SX_PANEL_DEPTH")};

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

/** The types of `sx_attention.h`. */
function attentionTypes(text: string): ReadonlySet<string> {
  const part = text.slice(text.indexOf("#ifndef SX_ATTENTION_H"));
  return new Set(
    [...part.matchAll(/typedef struct (\w+) \{/g)].map(([, name = ""]) => typeName(name)),
  );
}

/** A module of parameters for each part of the header. */
function paramSources(header: Header, attention: ReadonlySet<string>): Record<string, string> {
  const interfaces = [...header.structs.values()].map(({ name, fields }) => {
    const lines = fields.map(({ name: field, kind, type }) => {
      const own = kind === "pointer" ? "bigint" : kind === "struct" ? typeName(type) : "number";
      return `  readonly ${camelCase(field)}: ${own}; // ${type} ${field}\n`;
    });
    const text = `/** \`${name}\`. */\nexport interface ${typeName(name)} {\n${lines.join("")}}\n`;
    return { isAttention: attention.has(typeName(name)), text };
  });
  const source = (file: string, ofAttention: boolean): string =>
    paramsSource(
      file,
      interfaces.filter(({ isAttention }) => isAttention === ofAttention).map(({ text }) => text),
    );
  return {
    "params.ts": source("sx_kernels.h", false),
    "attention_params.ts": source("sx_attention.h", true),
  };
}

function paramsSource(file: string, interfaces: readonly string[]): string {
  return `/**
 * What the ops of \`kernels/${file}\` take, which says what each field means.
 *
 * Pointers are addresses, 0n being null; sizes are whole numbers; dtypes are those of \`status.ts\`.
 *
 * ${NOTE}
 *
 * @module
 */

${interfaces.join("\n")}`;
}

function opsSource(header: Header, attention: ReadonlySet<string>): string {
  const table = [...header.ops].map(([op, struct]) => `  readonly ${op}: ${typeName(struct)};\n`);
  const sizes = [...header.ops].map(([op, struct]) =>
    `  ${op}: ${header.structs.get(struct)?.bytes ?? 0},\n`
  );
  return `/**
 * The structure of each op of \`kernels/sx_kernels.h\`, and its size.
 *
 * ${NOTE}
 *
 * @module
 */
${importsOf([...header.ops.values()].map(typeName), attention)}

/** What each op takes. */
export interface OpParams {
${table.join("")}}

/** The bytes of each op's structure. */
export const PARAM_BYTES = {
${sizes.join("")}} as const satisfies Readonly<Record<keyof OpParams, number>>;
`;
}

/** Imports of types from the module of each part of the header. */
function importsOf(names: readonly string[], attention: ReadonlySet<string>): string {
  const sorted = [...new Set(names)].sort();
  const from = (isAttention: boolean, module: string): string => {
    const own = sorted.filter((name) => attention.has(name) === isAttention);
    const line = `import type { ${own.join(", ")} } from "${module}";`;
    if (line.length <= LINE_WIDTH) return line;
    return `import type {\n${own.map((name) => `  ${name},\n`).join("")}} from "${module}";`;
  };
  return `${from(true, "./attention_params.ts")}\n${from(false, "./params.ts")}`;
}

function structsSource(header: Header, attention: ReadonlySet<string>): string {
  const nested = new Set(
    [...header.structs.values()].flatMap(({ fields }) =>
      fields.flatMap(({ kind, type }) => kind === "struct" ? [type] : [])
    ),
  );
  const parts = [...nested].map((struct) =>
    `function ${writerName(struct)}(to: StructViews, at: number, p: ${typeName(struct)}): void ` +
    `{\n${fieldWriters(header, { struct, at: "at" }).map((line) => `  ${line}\n`).join("")}}\n\n`
  );
  const writers = [...header.ops].map(([op, struct]) => {
    const lines = nested.has(struct)
      ? [`${writerName(struct)}(to, 0, p);`]
      : fieldWriters(header, { struct, at: undefined });
    const body = lines.map((line) => `    ${line}\n`).join("");
    return `  ${op}(to, p) {\n${body}  },\n`;
  });
  return `/**
 * Writes what an op takes as C lays it out.
 *
 * ${NOTE}
 *
 * @module
 */
import type { OpParams } from "./op_params.ts";
${importsOf([...nested].map(typeName), attention)}
import { type StructViews, writeInt, writeSize } from "./struct_views.ts";

// Structures within others, which begin so many words of 8 bytes after the memory itself.

${parts.join("")}/** Writes the structure of each op to the beginning of some memory. */
export const PARAM_WRITERS: {
  readonly [K in keyof OpParams]: (to: StructViews, params: OpParams[K]) => void;
} = {
${writers.join("")}};
`;
}

/** `sx_key_values`: `writeKeyValues`. */
function writerName(struct: string): string {
  return `write${typeName(struct).replace(/Params$/, "")}`;
}

/** A line for each field; `at`: the name of where the structure begins, none if that is 0. */
function fieldWriters(
  header: Header,
  { struct, at }: { struct: string; at: string | undefined },
): string[] {
  const place = (word: number, factor: 1 | 2): string => {
    if (at === undefined) return String(word);
    const base = factor === 1 ? at : `2 * ${at}`;
    return word === 0 ? base : `${base} + ${word}`;
  };
  const { fields = [] } = header.structs.get(struct) ?? {};
  return fields.map(({ name, kind, type, offset }) => {
    const value = `p.${camelCase(name)}`;
    const half = place(offset / 4, 2);
    if (kind === "struct") return `${writerName(type)}(to, ${place(offset / 8, 1)}, ${value});`;
    if (kind === "pointer") return `to.u64[${place(offset / 8, 1)}] = ${value};`;
    if (kind === "i64") return `writeSize(to.i32, ${half}, ${value});`;
    if (kind === "i32") return `writeInt(to.i32, ${half}, ${value});`;
    return `to.${kind}[${half}] = ${value};`;
  });
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
