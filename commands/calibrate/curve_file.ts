/**
 * The curves of the prompts that are measured already: JSON lines beside the result, so that a run
 * which was cut off goes on.
 *
 * @module
 */
import { MassCurves, type WireCurves } from "../../lib/attention/mass_curves.ts";
import { errorText, FileError, UsageError } from "../../lib/errors.ts";
import { JsonLinesWriter, readJsonLines, recoverJsonLines } from "../../lib/jsonl.ts";
import { isJsonObject } from "../../lib/text_file.ts";

/** What curves depend on, besides the prompt. */
export type CurveOptions = Readonly<Record<string, string | number | null>>;

/** What an option is that a file does not name, as files did not when there was one value alone. */
const UNNAMED: CurveOptions = { "--rule": "threshold" };

/** The curves of one prompt. */
export interface PromptCurves {
  /** SHA-256 of context and query. */
  readonly prompt: string;
  readonly curves: MassCurves;
}

/** The curves of a run so far. */
export class CurveFile implements Disposable {
  readonly #curves: Map<string, MassCurves>;
  readonly #writer: JsonLinesWriter;

  private constructor(curves: Map<string, MassCurves>, writer: JsonLinesWriter) {
    this.#curves = curves;
    this.#writer = writer;
  }

  /**
   * Opens a file, or begins it.
   *
   * @throws {UsageError} If its curves were made with other options; the message names one.
   * @throws {FileError} If it cannot be read or written, or holds no curves.
   */
  static async open(path: string, options: CurveOptions): Promise<CurveFile> {
    await recoverJsonLines(path);
    const curves = new Map<string, MassCurves>();
    const isThere = await Deno.stat(path).then(({ size }) => size > 0, () => false);
    if (isThere) {
      for await (const { line, value } of readJsonLines(path)) {
        if (line === 1) checkOptions(value, { path, options });
        else {
          const read = promptCurves(value, { path, line });
          const [first] = curves.values();
          checkAlike(read.curves, { path, line, first });
          curves.set(read.prompt, read.curves);
        }
      }
    }
    const writer = await JsonLinesWriter.open(path);
    if (!isThere) await writer.append({ options });
    return new CurveFile(curves, writer);
  }

  /** The curves of a prompt that is measured already. */
  get(prompt: string): MassCurves | undefined {
    return this.#curves.get(prompt);
  }

  /** Keeps the curves of a prompt; they are on disk when this returns. */
  async add(prompt: string, curves: WireCurves): Promise<void> {
    await this.#writer.append({ prompt, curves });
    this.#curves.set(prompt, MassCurves.fromWire(curves));
  }

  /** Closes the file; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#writer[Symbol.dispose]();
  }
}

/**
 * Reads what was measured, to choose thresholds from.
 *
 * @throws {FileError} If it cannot be read, or holds no curves.
 */
export async function readCurves(
  path: string,
): Promise<{ options: Readonly<Record<string, unknown>>; curves: readonly MassCurves[] }> {
  const curves: MassCurves[] = [];
  let options: unknown;
  for await (const { line, value } of readJsonLines(path)) {
    if (line === 1) options = isJsonObject(value) ? value.options : undefined;
    else {
      const read = promptCurves(value, { path, line }).curves;
      checkAlike(read, { path, line, first: curves[0] });
      curves.push(read);
    }
  }
  if (!isJsonObject(options) || curves.length === 0) {
    throw new FileError(`Cannot use ${path} as it must hold curves of calibrate: found none`);
  }
  return { options, curves };
}

function checkOptions(value: unknown, run: { path: string; options: CurveOptions }): void {
  const { path, options } = run;
  const before = isJsonObject(value) ? value.options : undefined;
  if (!isJsonObject(before)) {
    throw new FileError(`Cannot read ${path}: its first line must have the options of a run`);
  }
  for (const name of new Set([...Object.keys(before), ...Object.keys(options)])) {
    const unnamed = UNNAMED[name] ?? null;
    const [was, is] = [before[name] ?? unnamed, options[name] ?? unnamed];
    if (was === is) continue;
    throw new UsageError(
      `${name}: cannot continue the curves in ${path}, which were made with ${was}: ` +
        `current value is ${is} (choose another --output_path, or give --overwrite)`,
    );
  }
}

function promptCurves(value: unknown, place: { path: string; line: number }): PromptCurves {
  const { path, line } = place;
  const fault = (rule: string): FileError =>
    new FileError(`Cannot read ${path}: line ${line} must have ${rule}`);
  if (!isJsonObject(value) || typeof value.prompt !== "string") throw fault("a 'prompt'");
  const { curves } = value;
  if (
    !isJsonObject(curves) || !Number.isSafeInteger(curves.layers) ||
    !Number.isSafeInteger(curves.heads) || typeof curves.tiles !== "string" ||
    typeof curves.mass !== "string" || (curves.rule !== undefined && curves.rule !== "share")
  ) throw fault("'curves'");
  try {
    return { prompt: value.prompt, curves: MassCurves.fromWire(curves as unknown as WireCurves) };
  } catch (error) {
    throw new FileError(`Cannot read ${path}: line ${line}: ${errorText(error)}`, { cause: error });
  }
}

/** @throws {FileError} If curves cannot be added up with those of the first prompt. */
function checkAlike(
  curves: MassCurves,
  place: { path: string; line: number; first: MassCurves | undefined },
): void {
  const { path, line, first = curves } = place;
  const sizeOf = ({ layers, heads, rule }: MassCurves) =>
    `${layers} layers, ${heads} heads and rule ${rule}`;
  if (sizeOf(curves) === sizeOf(first)) return;
  throw new FileError(
    `Cannot read ${path}: line ${line} must have curves of ${
      sizeOf(first)
    } as the first prompt's: ` +
      `current value is ${sizeOf(curves)}`,
  );
}
