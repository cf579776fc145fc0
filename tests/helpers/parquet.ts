/**
 * Writes small Parquet files of text columns: one page per column and row group, plain, uncompressed
 * (Apache Parquet format; metadata in Thrift's compact protocol).
 *
 * @module
 */

const I32 = 5;
const I64 = 6;
const BINARY = 8;
const LIST = 9;
const STRUCT = 12;
const BYTE_ARRAY = 6;
const RLE = 3;

type Value = number | string | Field[] | {
  readonly kind: number;
  readonly items: readonly Value[];
};

/** A field of a Thrift structure: its number, its type, its value. */
type Field = readonly [id: number, kind: number, value: Value];

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 0x80) {
    bytes.push(rest % 0x80 + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  return [...bytes, rest];
}

function encodeValue(kind: number, value: Value): number[] {
  if (typeof value === "number") return varint(value * 2);
  if (typeof value === "string") {
    const bytes = new TextEncoder().encode(value);
    return [...varint(bytes.length), ...bytes];
  }
  if (Array.isArray(value)) return encodeStruct(value);
  const { items } = value as { kind: number; items: readonly Value[] };
  const element = kind === LIST ? (value as { kind: number }).kind : kind;
  return [(items.length << 4) | element, ...items.flatMap((item) => encodeValue(element, item))];
}

function encodeStruct(fields: readonly Field[]): number[] {
  const bytes: number[] = [];
  let last = 0;
  for (const [id, kind, value] of fields) {
    bytes.push(((id - last) << 4) | kind, ...encodeValue(kind, value));
    last = id;
  }
  return [...bytes, 0];
}

function list(kind: number, items: readonly Value[]): Value {
  return { kind, items };
}

/**
 * A file.
 *
 * @param rows Objects with the same texts.
 * @param options How many rows a row group has.
 */
export function parquetOf(
  rows: readonly Readonly<Record<string, string>>[],
  options: { groupRows: number },
): Uint8Array<ArrayBuffer> {
  const columns = Object.keys(rows[0] ?? {});
  const magic = [...new TextEncoder().encode("PAR1")];
  const parts: number[][] = [magic];
  let offset = magic.length;
  const groups: Value[] = [];
  for (let start = 0; start < rows.length; start += options.groupRows) {
    const group = rows.slice(start, start + options.groupRows);
    const chunks = columns.map((column): Field[] => {
      const page = pageOf(group.map((row) => row[column] ?? ""));
      const at = offset;
      parts.push(page);
      offset += page.length;
      return [[2, I64, at], [3, STRUCT, columnMeta(column, { at, page, count: group.length })]];
    });
    const bytes = offset;
    groups.push([[1, LIST, list(STRUCT, chunks)], [2, I64, bytes], [3, I64, group.length]]);
  }
  const root: Field[] = [[4, BINARY, "schema"], [5, I32, columns.length]];
  const schema = columns.map((name): Field[] => [
    ...[[1, I32, BYTE_ARRAY], [3, I32, 0], [4, BINARY, name], [6, I32, 0]] as Field[],
  ]);
  const footer = encodeStruct([
    [1, I32, 1],
    [2, LIST, list(STRUCT, [root, ...schema])],
    [3, I64, rows.length],
    [4, LIST, list(STRUCT, groups)],
  ]);
  const length = [...new Uint8Array(new Uint32Array([footer.length]).buffer)];
  return Uint8Array.from([...parts.flat(), ...footer, ...length, ...magic]);
}

function columnMeta(
  column: string,
  chunk: { at: number; page: readonly number[]; count: number },
): Field[] {
  const { at, page, count } = chunk;
  return [
    [1, I32, BYTE_ARRAY],
    [2, LIST, list(I32, [0])],
    [3, LIST, list(BINARY, [column])],
    [4, I32, 0],
    [5, I64, count],
    [6, I64, page.length],
    [7, I64, page.length],
    [9, I64, at],
  ];
}

function pageOf(texts: readonly string[]): number[] {
  const values = texts.flatMap((text) => {
    const bytes = new TextEncoder().encode(text);
    return [...new Uint8Array(new Uint32Array([bytes.length]).buffer), ...bytes];
  });
  const levels: Field[] = [[1, I32, texts.length], [2, I32, 0], [3, I32, RLE], [4, I32, RLE]];
  const header = encodeStruct([
    [1, I32, 0],
    [2, I32, values.length],
    [3, I32, values.length],
    [5, STRUCT, levels],
  ]);
  return [...header, ...values];
}
