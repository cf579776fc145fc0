/**
 * Which commit of this program runs.
 *
 * @module
 */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/**
 * The commit of the repository that this program runs from, as git keeps it on disk.
 *
 * @param root The repository's folder. @default {URL} That of this program.
 * @returns 40 hexadecimal digits; undefined from a URL, or where there is no repository that
 * can be read.
 */
export async function currentCommit(
  root: URL = new URL("../../", import.meta.url),
): Promise<string | undefined> {
  if (root.protocol !== "file:") return undefined;
  try {
    const folder = await gitFolder(fileURLToPath(root));
    const head = (await Deno.readTextFile(`${folder}/HEAD`)).trim();
    const [, name] = /^ref: (.+)$/.exec(head) ?? [];
    return name === undefined ? asCommit(head) : await commitOf(folder, name);
  } catch {
    // No repository, or one that this user may not read: results do without the note.
    return undefined;
  }
}

/** The folder of git's files; in a work tree, `.git` is a file that names it. */
async function gitFolder(root: string): Promise<string> {
  const path = `${root.replace(/\/$/, "")}/.git`;
  if ((await Deno.stat(path)).isDirectory) return path;
  const [, named = ""] = /^gitdir: (.+)$/m.exec(await Deno.readTextFile(path)) ?? [];
  return resolve(dirname(path), named);
}

async function commitOf(folder: string, name: string): Promise<string | undefined> {
  const common = await Deno.readTextFile(`${folder}/commondir`).catch(() => "");
  const shared = common === "" ? folder : resolve(folder, common.trim());
  for (const place of new Set([folder, shared])) {
    const text = await Deno.readTextFile(`${place}/${name}`).catch(() => undefined);
    if (text !== undefined) return asCommit(text.trim());
  }
  const packed = await Deno.readTextFile(`${shared}/packed-refs`).catch(() => "");
  return packed.split("\n").find((line) => line.endsWith(` ${name}`))?.slice(0, 40);
}

function asCommit(text: string): string | undefined {
  return /^[0-9a-f]{40}$/.test(text) ? text : undefined;
}
