/**
 * Jinja templates, by Hugging Face's package for chat templates.
 *
 * @module
 */

/**
 * Renders a template.
 *
 * @param source The template's text.
 * @param values What it can name.
 * @throws {Error} If it is none, or uses what the package does not know.
 */
export async function renderJinja(
  source: string,
  values: Readonly<Record<string, unknown>>,
): Promise<string> {
  const { Template } = await import("npm:@huggingface/jinja@0.5.11");
  return new Template(source).render({ ...values });
}
