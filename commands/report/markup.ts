/**
 * Pieces of HTML.
 *
 * @module
 */
import { withVariables } from "./palette.ts";

/** HTML that may stand as it is. */
export interface Html {
  readonly html: string;
}

/** A text with what HTML would read as markup written out. */
function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, "\ufffd");
}

/** Text for a `script` element that holds JSON: nothing in it may end the element. */
export function scriptJson(value: unknown): string {
  return JSON.stringify(value).replaceAll("<", "\\u003c");
}

/** A template whose values are escaped unless they are HTML; lists are joined. */
export function markup(
  parts: TemplateStringsArray,
  ...values: readonly (string | number | Html | readonly Html[])[]
): Html {
  const text = parts.map((part, index) => {
    const value = values[index];
    if (value === undefined) return part;
    return part +
      (typeof value === "string" || typeof value === "number"
        ? escapeHtml(String(value))
        : "html" in value
        ? value.html
        : value.map((item) => item.html).join(""));
  });
  return { html: text.join("") };
}

/** HTML as it is. */
export function raw(text: string): Html {
  return { html: text };
}

/** Nothing. */
export const NOTHING: Html = { html: "" };

/**
 * A drawn chart as a figure: an image with a name for screen readers, tips where it had names for its
 * marks.
 *
 * @param svg As Vega draws it.
 * @param options `name` says what it shows; `caption` stands below.
 */
export function figure(svg: string, options: { name: string; caption: string }): Html {
  const { name, caption } = options;
  const marks = svg
    .replaceAll(
      /aria-label="([^"]*)" role="graphics-symbol" aria-roledescription="(?!axis|legend|title)[^"]*"/g,
      'data-tip="$1"',
    )
    .replaceAll(/ (?:role="graphics-[^"]*"|aria-[a-z]+="[^"]*")/g, "")
    .replaceAll(
      /<svg ([^>]*?)class="marks"/g,
      (_, before: string) => `<svg ${before}role="img" aria-label="${escapeHtml(name)}"`,
    );
  return markup`
    <figure>
      <div class="chart" tabindex="0" role="region" aria-label="${name} (scrolls)">${
    raw(
      withVariables(marks),
    )
  }</div>
      <figcaption>${caption}</figcaption>
    </figure>
  `;
}

/** A table that scrolls on its own where it is too wide. */
export function table(
  name: string,
  rows: { head: Html; body: readonly Html[] },
): Html {
  return markup`
    <div class="table" tabindex="0" role="region" aria-label="${name} (scrolls)">
      <table>
        <thead>${rows.head}</thead>
        <tbody>${rows.body}</tbody>
      </table>
    </div>
  `;
}
