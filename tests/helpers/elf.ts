/**
 * The symbols that a shared library exports, read from its file (System V ABI, chapters 4 and 5; ELF
 * of 64 bits, lower byte first).
 *
 * @module
 */
import { assert } from "./assert.ts";

/** Offsets and sizes of the file's header, of a section's header and of a symbol. */
const HEADER = { sectionOffset: 0x28, sectionBytes: 0x3a, sectionCount: 0x3c } as const;
const SECTION = { type: 4, offset: 0x18, size: 0x20, link: 0x28 } as const;
const SYMBOL = { bytes: 24, section: 6 } as const;
const DYNAMIC_SYMBOLS = 11;

/** The names of the symbols that a library defines for others, sorted. */
export function exportedSymbols(file: Uint8Array<ArrayBuffer>): string[] {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  assert(
    view.getUint32(0) === 0x7f454c46 && view.getUint16(4) === 0x0201,
    "it must be an ELF file",
  );
  const u16 = (at: number): number => view.getUint16(at, true);
  const u32 = (at: number): number => view.getUint32(at, true);
  const u64 = (at: number): number => Number(view.getBigUint64(at, true));
  const section = (index: number): number =>
    u64(HEADER.sectionOffset) + index * u16(HEADER.sectionBytes);
  const indices = Array.from({ length: u16(HEADER.sectionCount) }, (_, index) => index);
  const symbols = indices.find((index) => u32(section(index) + SECTION.type) === DYNAMIC_SYMBOLS);
  assert(symbols !== undefined, "it must have dynamic symbols");
  const names = u64(section(u32(section(symbols) + SECTION.link)) + SECTION.offset);
  const begin = u64(section(symbols) + SECTION.offset);
  const count = u64(section(symbols) + SECTION.size) / SYMBOL.bytes;
  const found: string[] = [];
  for (let at = begin; at < begin + count * SYMBOL.bytes; at += SYMBOL.bytes) {
    // Section 0 stands for symbols that are wanted from others.
    if (u16(at + SYMBOL.section) === 0) continue;
    const name = file.subarray(names + u32(at), file.indexOf(0, names + u32(at)));
    found.push(new TextDecoder().decode(name));
  }
  return found.sort();
}
