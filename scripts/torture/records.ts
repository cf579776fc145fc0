/**
 * Compares records of results with those of a run that nobody disturbed.
 *
 * @module
 */
import type { Fault } from "./tally.ts";

/** The lines of a text that are whole. */
export function wholeLines(text: string): string[] {
  return text.split("\n").slice(0, -1);
}

/** Compares a finished file of results, byte for byte. */
export function compareResults(
  name: string,
  texts: { found: string | undefined; expected: string },
): Fault[] {
  const { found, expected } = texts;
  if (found === expected) return [];
  if (found === undefined) return [{ kind: "lost", text: `${name} is missing` }];
  const [own, others] = [wholeLines(found), wholeLines(expected)];
  const kept = own.filter((line) => others.includes(line)).length;
  const fault = (kind: Fault["kind"], text: string): Fault => ({ kind, text: `${name}: ${text}` });
  if (new Set(own).size < own.length && new Set(others).size === others.length) {
    return [fault("doubled", `${own.length} lines, ${new Set(own).size} different ones`)];
  }
  if (own.length < others.length) {
    return [fault("lost", `${own.length} of ${others.length} lines`)];
  }
  return [fault("different", `${kept} of ${others.length} lines are the same`)];
}

/** Texts of files by their path. */
export type Texts = ReadonlyMap<string, string>;

/** Reads all files below a folder, by their path in it. */
export async function readTexts(folder: string, keep: (path: string) => boolean): Promise<Texts> {
  const texts = new Map<string, string>();
  const walk = async (below: string): Promise<void> => {
    for await (const entry of Deno.readDir(`${folder}/${below}`)) {
      const path = `${below}${entry.name}`;
      if (entry.isDirectory) await walk(`${path}/`);
      else if (keep(path)) texts.set(path, await Deno.readTextFile(`${folder}/${path}`));
    }
  };
  await walk("");
  return texts;
}
