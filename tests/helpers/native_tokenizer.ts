/**
 * Compares tokenizers with Hugging Face's native library, in a process of its own: neither the
 * library nor the packages with real tokenizers are in this project's lock file, so that nobody but
 * these tests fetches them. It prints a line of JSON per tokenizer.
 *
 * `deno run -A --no-lock tests/helpers/native_tokenizer.ts`, with a JSON object on standard input:
 * `texts`, and `files`, texts of `tokenizer.json` or names of `real_tokenizers.ts`.
 *
 * @module
 */
import { loadTokenizer } from "../../lib/model/tokenizer.ts";
import { realTokenizer } from "./real_tokenizers.ts";

/** What is compared. */
export interface NativeRequest {
  readonly texts: readonly string[];
  /** Texts of `tokenizer.json`, or names of `real_tokenizers.ts`. */
  readonly files: readonly { readonly name: string; readonly json?: string }[];
}

/** What was found of one tokenizer. */
export interface NativeReport {
  readonly name: string;
  /** Texts whose ids, or whose decoded texts, differ; with both. */
  readonly differences: readonly string[];
  readonly compared: number;
  /** Why it could not be had; empty if it could. */
  readonly missing: string;
  /** What one of the two refuses and the other does not. */
  readonly refusal: string;
}

interface NativeTokenizer {
  encode(
    text: string,
    pair: undefined,
    options: { addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }>;
  decode(ids: number[], skipSpecialTokens: boolean): Promise<string>;
}

interface NativeLibrary {
  Tokenizer: { fromString(json: string): NativeTokenizer };
}

/** Whatever the lock file does not know is imported by a name that is no literal. */
async function importPackage<T>(name: string): Promise<T> {
  return await import(`npm:${name}`) as T;
}

async function compare(
  library: NativeLibrary,
  file: { name: string; json: string },
  texts: readonly string[],
): Promise<NativeReport> {
  const report = { name: file.name, differences: [] as string[], compared: 0, missing: "" };
  let native: NativeTokenizer | undefined;
  let refused = "";
  try {
    native = library.Tokenizer.fromString(file.json);
  } catch (error) {
    refused = String(error);
  }
  const folder = await Deno.makeTempDir();
  try {
    await Deno.writeTextFile(`${folder}/tokenizer.json`, file.json);
    using own = await loadTokenizer(folder);
    if (native === undefined) return { ...report, refusal: `the library: ${refused}` };
    for (const text of texts) {
      const encoding = await native.encode(text, undefined, { addSpecialTokens: false });
      const expected = encoding.getIds();
      const ids = [...own.encode(text)];
      const decoded = await native.decode(expected, false);
      report.compared++;
      if (ids.join() !== expected.join() || own.decode(ids) !== decoded) {
        report.differences.push(JSON.stringify({ text, ids, expected, decoded }));
      }
    }
    return { ...report, refusal: "" };
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    return { ...report, refusal: native === undefined ? "" : `loadTokenizer(): ${text}` };
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

if (import.meta.main) {
  const input = await new Response(Deno.stdin.readable).text();
  const { texts, files }: NativeRequest = JSON.parse(input);
  const library = await importPackage<NativeLibrary>("tokenizers@0.23.2");
  for (const { name, json } of files) {
    let report: NativeReport;
    try {
      const text = json ?? await realTokenizer(name);
      report = await compare(library, { name, json: text }, texts);
    } catch (error) {
      report = { name, differences: [], compared: 0, missing: String(error), refusal: "" };
    }
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(report)}\n`));
  }
}

/**
 * Compares in a child process.
 *
 * @returns `undefined` if the native library cannot be had.
 */
export async function compareNative(request: NativeRequest): Promise<NativeReport[] | undefined> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-lock", "--quiet", new URL(import.meta.url).pathname],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(JSON.stringify(request)));
  await writer.close();
  const { code, stdout } = await child.output();
  if (code !== 0) return undefined;
  const lines = new TextDecoder().decode(stdout).trim().split("\n");
  return lines.map((line): NativeReport => JSON.parse(line));
}
