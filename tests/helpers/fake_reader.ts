/**
 * A process that maps a file, and reads it after it was cut off.
 *
 * Arguments: the file, and whether the mapping is guarded or another one is (`guarded`, `other`).
 *
 * @module
 */
import { MappedGuard } from "../../lib/ffi/mapped_guard.ts";
import { mapFile } from "../../lib/ffi/memory.ts";

const [path = "", what = ""] = Deno.args;
using guard = await MappedGuard.open();
using other = mapFile(new URL(import.meta.url).pathname);
using file = mapFile(path);
const { pointer: address, byteLength } = what === "guarded" ? file : other;
guard.add({ address, byteLength, path });
await Deno.truncate(path, 0);
Deno.stdout.writeSync(file.bytes.subarray(0, 1));
