/**
 * Reads `sx_kernels.h`: its structures, field by field, and its functions.
 *
 * The header is written for this: an op `sx_<op>` takes its context and a `const sx_<op>_params*`, a
 * pointer has a declaration of its own, and numbers of one type may share one.
 *
 * @module
 */

/** How a field lies in memory; `struct` is another structure in place. */
export type FieldKind = "pointer" | "i32" | "i64" | "f32" | "struct";

/** One field of a structure. */
export interface Field {
  readonly name: string;
  readonly kind: FieldKind;
  /** The C type, for example `const float*` or `sx_key_values`. */
  readonly type: string;
  /** Bytes from the structure's beginning. */
  readonly offset: number;
}

/** A structure as C lays it out. */
export interface Struct {
  readonly name: string;
  readonly fields: readonly Field[];
  readonly bytes: number;
  readonly alignment: number;
}

/** A function. */
export interface Prototype {
  readonly name: string;
  readonly result: string;
  /** For example `const sx_copy_params* params`. */
  readonly parameters: readonly string[];
}

/** What the header declares, in its order. */
export interface Header {
  readonly structs: ReadonlyMap<string, Struct>;
  readonly prototypes: readonly Prototype[];
  /** Functions that take a structure: the name of each, and of its structure. */
  readonly ops: ReadonlyMap<string, string>;
  /** The value of a `#define`. @throws {SyntaxError} If there is none. */
  constant(name: string): number;
}

const KINDS: Readonly<Record<string, FieldKind>> = {
  int32_t: "i32",
  sx_dtype: "i32",
  int64_t: "i64",
  float: "f32",
};
const BYTES = { pointer: 8, i32: 4, i64: 8, f32: 4 } as const;

/** The text of `sx_kernels.h`, with the parts that it includes in their places. */
export function headerText(): string {
  const read = (name: string): string =>
    Deno.readTextFileSync(new URL(name, import.meta.url)).replaceAll(
      /^#include "(sx_\w+\.h)".*$/gm,
      (_line, part: string) => read(part),
    );
  return read("sx_kernels.h");
}

/**
 * Reads the text of the header.
 *
 * @throws {SyntaxError} If a field's type is unknown.
 */
export function parseHeader(text: string): Header {
  const code = text.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/^#.*$/gm, "");
  const structs = new Map<string, Struct>();
  for (const [, name = "", body = ""] of code.matchAll(/typedef struct (\w+) \{([^}]*)\}/g)) {
    structs.set(name, layOut(name, { body, structs }));
  }
  const functions = code.replaceAll(/typedef struct \w+ \{[^}]*\} \w+;/g, "");
  const prototypes = [...functions.matchAll(/(\w+)\s+(sx_\w+)\s*\(([^)]*)\)\s*;/g)].map(
    ([, result = "", name = "", list = ""]): Prototype => ({
      name,
      result,
      parameters: list.trim() === "void"
        ? []
        : list.split(",").map((parameter) => parameter.trim().replaceAll(/\s+/g, " ")),
    }),
  );
  const ops = prototypes.flatMap(({ name }) =>
    structs.has(`${name}_params`) ? [[name, `${name}_params`] as const] : []
  );
  return {
    structs,
    prototypes,
    ops: new Map(ops),
    constant(name) {
      const value = text.match(new RegExp(`#define ${name} (\\d+)`))?.[1];
      if (value === undefined) throw new SyntaxError(`sx_kernels.h must define ${name}`);
      return Number(value);
    },
  };
}

/** Places the fields as the x86-64 ABI does: each at a multiple of its own alignment. */
function layOut(
  name: string,
  source: { body: string; structs: ReadonlyMap<string, Struct> },
): Struct {
  const fields: Field[] = [];
  let end = 0;
  let alignment = 1;
  for (const declaration of source.body.split(";").map((line) => line.trim())) {
    if (declaration === "") continue;
    const [, type = "", list = ""] = declaration.match(/^(.*?[\s*])(\w+(?:,\s*\w+)*)$/) ?? [];
    const plain = type.trim();
    const inner = source.structs.get(plain);
    const kind = inner !== undefined ? "struct" : plain.endsWith("*") ? "pointer" : KINDS[plain];
    if (kind === undefined) {
      throw new SyntaxError(`sx_kernels.h: ${name} has a field of unknown type: ${declaration}`);
    }
    const bytes = inner?.bytes ?? BYTES[kind as keyof typeof BYTES];
    const own = inner?.alignment ?? bytes;
    for (const field of list.split(",")) {
      const offset = Math.ceil(end / own) * own;
      fields.push({ name: field.trim(), kind, type: plain, offset });
      end = offset + bytes;
    }
    alignment = Math.max(alignment, own);
  }
  return { name, fields, bytes: Math.ceil(end / alignment) * alignment, alignment };
}

/** A field inside of a structure or of one in it, for example `kv.keys`. */
export interface Leaf {
  /** The names from the structure on. */
  readonly path: readonly string[];
  readonly kind: Exclude<FieldKind, "struct">;
  readonly type: string;
  readonly offset: number;
}

/** All fields of a structure, those of structures in it in their place. */
export function leavesOf(header: Header, name: string): Leaf[] {
  const struct = header.structs.get(name);
  if (struct === undefined) throw new SyntaxError(`sx_kernels.h must have ${name}`);
  return struct.fields.flatMap(({ name: field, kind, type, offset }): Leaf[] => {
    if (kind !== "struct") return [{ path: [field], kind, type, offset }];
    return leavesOf(header, type).map((leaf) => ({
      ...leaf,
      path: [field, ...leaf.path],
      offset: offset + leaf.offset,
    }));
  });
}
