/**
 * Reads what a server answers up to a limit: nobody knows before how much will come.
 *
 * @module
 */
import { FileError } from "./errors.ts";

/**
 * Reads the body of a response.
 *
 * @param response Its body is read to its end, or cancelled.
 * @param options The limit, and what the answer is called in the message.
 * @returns The body's bytes.
 * @throws {FileError} If there are more.
 */
export async function readBody(
  response: Response,
  options: { maxBytes: number; label: string },
): Promise<Uint8Array<ArrayBuffer>> {
  const { maxBytes, label } = options;
  const parts: Uint8Array[] = [];
  let bytes = 0;
  const tooLong = (found: string) =>
    new FileError(`Cannot read ${label} as it may have at most ${maxBytes} bytes: ${found}`);
  const claimed = Number(response.headers.get("Content-Length") ?? 0);
  if (claimed > maxBytes) {
    await response.body?.cancel();
    throw tooLong(`current value is ${claimed}`);
  }
  for await (const part of response.body ?? []) {
    parts.push(part);
    bytes += part.length;
    // Leaving the loop cancels the body.
    if (bytes > maxBytes) throw tooLong("more came");
  }
  const all = new Uint8Array(bytes);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
