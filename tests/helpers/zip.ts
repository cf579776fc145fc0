/**
 * Writes small zip archives.
 *
 * @module
 */
import { crc32, deflateRawSync } from "node:zlib";

/** How members are written. */
export interface ZipChanges {
  /** What the entries say of each member's size, whatever it is. */
  readonly claimedBytes?: number;
}

/** An archive with deflated members. */
export function zipOf(
  members: Readonly<Record<string, Uint8Array>>,
  changes: ZipChanges = {},
): Uint8Array<ArrayBuffer> {
  const parts: Uint8Array[] = [];
  const entries: Uint8Array[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(members)) {
    const path = new TextEncoder().encode(name);
    const packed = new Uint8Array(deflateRawSync(content));
    const fields = new DataView(new ArrayBuffer(26));
    fields.setUint16(0, 20, true);
    fields.setUint16(4, 8, true);
    fields.setUint32(10, crc32(content), true);
    fields.setUint32(14, packed.length, true);
    fields.setUint32(18, changes.claimedBytes ?? content.length, true);
    fields.setUint16(22, path.length, true);
    const common = new Uint8Array(fields.buffer);
    const local = joined([Uint8Array.of(0x50, 0x4b, 3, 4), common, path, packed]);
    const tail = new DataView(new ArrayBuffer(14));
    tail.setUint32(10, offset, true);
    entries.push(
      joined([
        ...[Uint8Array.of(0x50, 0x4b, 1, 2, 20, 0), common],
        ...[new Uint8Array(tail.buffer), path],
      ]),
    );
    parts.push(local);
    offset += local.length;
  }
  const directory = joined(entries);
  const end = new DataView(new ArrayBuffer(22));
  end.setUint32(0, 0x06054b50, true);
  end.setUint16(8, entries.length, true);
  end.setUint16(10, entries.length, true);
  end.setUint32(12, directory.length, true);
  end.setUint32(16, offset, true);
  return joined([...parts, directory, new Uint8Array(end.buffer)]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
