/**
 * How deep in its context each needle lies.
 *
 * @module
 */
import type { InputSample } from "../shared/samples.ts";

/**
 * The depths of the answers of a niah sample, in percent of the context's characters, as its log
 * keeps them: the data itself stays RULER's, byte for byte.
 *
 * @returns Nothing where the context has no needles.
 */
export function depthsOf(
  sample: Pick<InputSample, "context" | "record">,
): { depths?: readonly number[] } {
  const { context, record } = sample;
  if (!context.includes("One of the special magic ")) return {};
  const outputs = record.get("outputs");
  const answers = Array.isArray(outputs) ? outputs : [];
  const depths = answers.flatMap((answer) => {
    const at = typeof answer === "string" ? context.indexOf(` is: ${answer}.`) : -1;
    return at < 0 ? [] : [Number((100 * at / context.length).toFixed(1))];
  });
  return depths.length === 0 ? {} : { depths };
}
