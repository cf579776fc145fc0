/**
 * Jinja templates, by Hugging Face's package for chat templates.
 *
 * @module
 */
import { withKnownEscapes } from "./jinja_escapes.ts";
import { asPython, NOW, PYTHON_FUNCTIONS } from "./jinja_python.ts";
import { strftime } from "./strftime.ts";

/**
 * Renders a template as Jinja does in Python with the options that transformers gives it.
 *
 * @param source The template's text.
 * @param values What it can name.
 * @param options `now`: what `strftime_now()` takes for the present; by default it is the present.
 * @throws {Error} If it is none, or uses what the package does not know.
 */
export async function renderJinja(
  source: string,
  values: Readonly<Record<string, unknown>>,
  options: { now?: Date | undefined } = {},
): Promise<string> {
  const { Template } = await import("npm:@huggingface/jinja@0.5.11");
  const template = new Template(withKnownEscapes(source));
  template.parsed = asPython(template.parsed) as typeof template.parsed;
  const now = (format: string) => strftime(options.now ?? new Date(), format);
  return template.render({ ...PYTHON_FUNCTIONS, [NOW]: now, ...values });
}
