/**
 * YAML, by the package of that name. It looks at LOG_STREAM and LOG_TOKENS, which deno.json allows
 * those tasks to read that take such files.
 *
 * @module
 */

/** References in a text may stand for at most so many values. */
const MAX_ALIASES = 100;

/**
 * Parses a text.
 *
 * @throws {Error} If it is no YAML.
 */
export async function parseYaml(text: string): Promise<unknown> {
  const { parse } = await import("npm:yaml@2.9.1");
  return parse(text, { maxAliasCount: MAX_ALIASES });
}
