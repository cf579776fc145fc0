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
import { shownOption } from "../shared/run_record.ts";
import { UNGIVEN_WEIGHTS } from "../shared/weights.ts";

/** What curves depend on, besides the prompt. */
export type CurveOptions = Readonly<Record<string, string | number | null>>;

/** What an option is that a file does not name, as files did not when there was one value alone. */
const UNNAMED: CurveOptions = {
  ...{ "--rule": "threshold", "--by": "attention" },
  ...Object.fromEntries(
    Object.entries(UNGIVEN_WEIGHTS).map(([name, value]) => [`--${name}`, value]),
  ),
};

/**
 * What the answer to a prompt loses; whole numbers, so that they are the same on any number of
 * processes.
 */
export interface AnswerEffects {
  /** Tokens of the answer that exact attention gives. */
  readonly tokens: number;
  /** For each measured layer, how many of them are not the likeliest where it computes its diagonal. */
  readonly lost: readonly number[];
}

/** What was measured of one prompt. */
export interface MeasuredPrompt {
  readonly curves: MassCurves;
  /** Undefined where nobody asked for it. */
  readonly effects: AnswerEffects | undefined;
}

/** A line of the file. */
interface PromptLine extends MeasuredPrompt {
  /** SHA-256 of context and query. */
  readonly prompt: string;
}

/** The curves of a run so far. */
export class CurveFile implements Disposable {
  readonly #measured: Map<string, MeasuredPrompt>;
  readonly #writer: JsonLinesWriter;

  private constructor(measured: Map<string, MeasuredPrompt>, writer: JsonLinesWriter) {
    this.#measured = measured;
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
    const measured = new Map<string, MeasuredPrompt>();
    const isThere = await Deno.stat(path).then(({ size }) => size > 0, () => false);
    if (isThere) {
      for await (const { line, value } of readJsonLines(path)) {
        if (line === 1) checkOptions(value, { path, options });
        else {
          const read = promptLine(value, { path, line });
          if (options["--by"] === "answers" && read.effects === undefined) {
            throw new FileError(`Cannot read ${path}: line ${line} must have 'effects'`);
          }
          const [first] = measured.values();
          checkAlike(read, { path, line, first });
          measured.set(read.prompt, read);
        }
      }
    }
    const writer = await JsonLinesWriter.open(path);
    if (!isThere) await writer.append({ options });
    return new CurveFile(measured, writer);
  }

  /** A prompt that is measured already. */
  get(prompt: string): MeasuredPrompt | undefined {
    return this.#measured.get(prompt);
  }

  /** Keeps what was measured of a prompt; it is on disk when this returns. */
  async add(
    prompt: string,
    measured: { curves: WireCurves; effects: AnswerEffects | undefined },
  ): Promise<void> {
    const { curves, effects } = measured;
    await this.#writer.append({ prompt, curves, ...(effects === undefined ? {} : { effects }) });
    this.#measured.set(prompt, { curves: MassCurves.fromWire(curves), effects });
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
): Promise<{ options: Readonly<Record<string, unknown>>; measured: readonly MeasuredPrompt[] }> {
  const measured: MeasuredPrompt[] = [];
  let options: unknown;
  for await (const { line, value } of readJsonLines(path)) {
    if (line === 1) options = isJsonObject(value) ? value.options : undefined;
    else {
      const read = promptLine(value, { path, line });
      checkAlike(read, { path, line, first: measured[0] });
      measured.push(read);
    }
  }
  if (!isJsonObject(options) || measured.length === 0) {
    throw new FileError(`Cannot use ${path} as it must hold curves of calibrate: found none`);
  }
  return { options, measured };
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
    const shown = name.startsWith("--") ? shownOption(name.slice(2)) : name;
    throw new UsageError(
      `${shown}: cannot continue the curves in ${path}, which were made with ${was}: ` +
        `current value is ${is} (choose another --output_path, or give --overwrite)`,
    );
  }
}

function promptLine(value: unknown, place: { path: string; line: number }): PromptLine {
  const { path, line } = place;
  const fault = (rule: string): FileError =>
    new FileError(`Cannot read ${path}: line ${line} must have ${rule}`);
  if (!isJsonObject(value) || typeof value.prompt !== "string") throw fault("a 'prompt'");
  const { prompt, curves, effects } = value;
  if (
    !isJsonObject(curves) || !Number.isSafeInteger(curves.layers) ||
    !Number.isSafeInteger(curves.heads) || typeof curves.tiles !== "string" ||
    typeof curves.mass !== "string" || (curves.rule !== undefined && curves.rule !== "share")
  ) throw fault("'curves'");
  try {
    const read = MassCurves.fromWire(curves as unknown as WireCurves);
    if (effects === undefined) return { prompt, curves: read, effects };
    if (isEffects(effects, read.layers)) return { prompt, curves: read, effects };
  } catch (error) {
    throw new FileError(`Cannot read ${path}: line ${line}: ${errorText(error)}`, { cause: error });
  }
  throw fault("'effects' of whole numbers, one for each layer, up to their 'tokens'");
}

function isEffects(value: unknown, layers: number): value is AnswerEffects {
  if (!isJsonObject(value) || !Array.isArray(value.lost)) return false;
  const { tokens, lost } = value;
  const isCount = (count: unknown): boolean => Number.isSafeInteger(count) && Number(count) >= 0;
  const isPart = (count: unknown): boolean => isCount(count) && Number(count) <= Number(tokens);
  return isCount(tokens) && lost.length === layers && lost.every(isPart);
}

/** @throws {FileError} If a prompt cannot be added up with the first one. */
function checkAlike(
  measured: MeasuredPrompt,
  place: { path: string; line: number; first: MeasuredPrompt | undefined },
): void {
  const { path, line, first = measured } = place;
  const sizeOf = ({ curves: { layers, heads, rule }, effects }: MeasuredPrompt) =>
    `${layers} layers, ${heads} heads and rule ${rule}${effects === undefined ? "" : ", effects"}`;
  if (sizeOf(measured) === sizeOf(first)) return;
  throw new FileError(
    `Cannot read ${path}: line ${line} must have curves of ${
      sizeOf(first)
    } as the first prompt's: ` +
      `current value is ${sizeOf(measured)}`,
  );
}
