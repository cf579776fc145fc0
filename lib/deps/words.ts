/**
 * Adjectives and nouns for RULER's keys where RULER's own lists are not on this machine: those of
 * Faker (MIT licence), in the order in which the package has them.
 *
 * @module
 */

/**
 * Loads the lists.
 *
 * @returns Lower-case letters only, so that a key is `adjective-noun` without further signs.
 */
export async function builtinWords(): Promise<{ adjectives: string[]; nouns: string[] }> {
  const { faker } = await import("npm:@faker-js/faker@9.9.0/locale/en");
  const { adjective, noun } = faker.definitions.word;
  const plain = (words: readonly string[]): string[] =>
    words.filter((word) => /^[a-z]+$/.test(word));
  return { adjectives: plain(adjective), nouns: plain(noun) };
}
