/**
 * Looks at a page in a real browser: a program of its own, as its packages are large and few tests
 * need them. Prints one line of JSON.
 *
 * Arguments: the page's path, the browser's.
 *
 * @module
 */

/** What it found. */
export interface PageFindings {
  /** What scripts and the browser complained about, requests for other files among them. */
  readonly complaints: readonly string[];
  /** Shapes in each chart. */
  readonly marks: readonly number[];
  /** Names of images that have none: their places. */
  readonly unnamedImages: number;
  /** Serious findings of axe-core, in the light and the dark theme. */
  readonly faults: readonly string[];
  /** Different colours in a small picture of the page, in each theme. */
  readonly colors: { readonly light: number; readonly dark: number };
  /** The page's background before and after its switch was used by the keyboard. */
  readonly backgrounds: readonly [string, string];
  /** What the tip says over a mark. */
  readonly tip: string;
  /** The path of the large mask in layer 0, in the last layer, and of another head there. */
  readonly masks: readonly string[];
  /** Whether a fold opens by the keyboard. */
  readonly opens: boolean;
  /** Pixels that a telephone would have to scroll sideways. */
  readonly overflow: number;
}

const PACKAGES: { readonly playwright: string; readonly axe: string } = {
  playwright: "npm:playwright-core@1.65.1",
  axe: "npm:axe-core@4.14.1",
};

interface Page {
  on(
    event: string,
    call: (message: { type?(): string; text?(): string; message?: string; url?(): string }) => void,
  ): void;
  goto(url: string): Promise<unknown>;
  evaluate<T>(script: string): Promise<T>;
  click(selector: string): Promise<void>;
  hover(selector: string, options: { force: boolean }): Promise<void>;
  focus(selector: string): Promise<void>;
  selectOption(selector: string, value: { index: number }): Promise<unknown>;
  screenshot(options: { path: string }): Promise<unknown>;
  setViewportSize(size: { width: number; height: number }): Promise<void>;
  readonly keyboard: { press(key: string): Promise<void> };
}

interface Browser {
  newPage(options: Record<string, unknown>): Promise<Page>;
  close(): Promise<void>;
}

/** Counts the colours of the page, drawn by the browser itself from its picture. */
const COLORS = (picture: string) =>
  `new Promise((resolve) => {
  const image = new Image();
  image.onload = () => {
    const canvas = document.createElement("canvas");
    canvas.width = 200; canvas.height = 160;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 200, 160);
    const { data } = context.getImageData(0, 0, 200, 160);
    const found = new Set();
    for (let i = 0; i < data.length; i += 4) found.add(data[i] * 65536 + data[i + 1] * 256 + data[i + 2]);
    resolve(found.size);
  };
  image.src = ${JSON.stringify(picture)};
})`;

async function colorsOf(page: Page): Promise<number> {
  const path = await Deno.makeTempFile({ suffix: ".png" });
  try {
    await page.screenshot({ path });
    const bytes = await Deno.readFile(path);
    return await page.evaluate(COLORS(`data:image/png;base64,${bytes.toBase64()}`));
  } finally {
    await Deno.remove(path);
  }
}

async function axeFaults(page: Page, axe: string): Promise<string[]> {
  await page.evaluate(`void (() => {${axe}})()`);
  return await page.evaluate(`axe.run(document).then(({ violations }) => violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) => nodes.map(({ html }) => id + ": " + html.slice(0, 160))))`);
}

async function look(page: Page, options: { url: string; axe: string }): Promise<PageFindings> {
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type?.() ?? "")) {
      complaints.push(message.text?.() ?? "");
    }
  });
  page.on("pageerror", (error) => complaints.push(error.message ?? "an error"));
  page.on("request", (request) => {
    const url = request.url?.() ?? "";
    if (url !== options.url && !url.startsWith("data:")) complaints.push(`asked for ${url}`);
  });
  await page.goto(options.url);
  const background = "getComputedStyle(document.body).backgroundColor";
  const light = await colorsOf(page);
  const before: string = await page.evaluate(background);
  const lightFaults = await axeFaults(page, options.axe);
  await page.focus("#theme");
  await page.keyboard.press("Enter");
  const after: string = await page.evaluate(background);
  const dark = await colorsOf(page);
  const darkFaults = await axeFaults(page, options.axe);
  // Equal scores lie on each other, and any of them will do.
  await page.hover(".chart [data-tip]", { force: true });
  const tip: string = await page.evaluate("document.getElementById('tip').textContent");
  const large = "document.querySelector('.mask-set .large .tiles')?.getAttribute('d') ?? ''";
  const masks: string[] = [await page.evaluate(large)];
  const layers: number = await page.evaluate(
    "document.querySelector('.mask-set select')?.length ?? 0",
  );
  if (layers > 0) {
    await page.selectOption(".mask-set select", { index: layers - 1 });
    masks.push(await page.evaluate(large));
    await page.click(".mask-set .heads li:nth-child(2) button");
    masks.push(await page.evaluate(large));
  }
  await page.focus("#run summary");
  await page.keyboard.press("Enter");
  const opens: boolean = await page.evaluate("document.querySelector('#run details').open");
  const marks: number[] = await page.evaluate(
    "[...document.querySelectorAll('.chart svg')].map((svg) => svg.querySelectorAll('[data-tip]').length)",
  );
  const unnamedImages: number = await page.evaluate(
    "document.querySelectorAll('svg:not([aria-label]), svg[aria-label=\"\"]').length",
  );
  await page.setViewportSize({ width: 390, height: 800 });
  const overflow: number = await page.evaluate(
    "document.documentElement.scrollWidth - document.documentElement.clientWidth",
  );
  return {
    ...{ complaints, marks, unnamedImages, tip, masks, opens, overflow },
    faults: [...new Set([...lightFaults, ...darkFaults])],
    colors: { light, dark },
    backgrounds: [before, after],
  };
}

async function main(): Promise<void> {
  const [path = "", executablePath = ""] = Deno.args;
  const { chromium }: { chromium: { launch(options: unknown): Promise<Browser> } } = await import(
    PACKAGES.playwright
  );
  const { default: { source } }: { default: { source: string } } = await import(PACKAGES.axe);
  const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  try {
    const page = await browser.newPage({
      viewport: { width: 1100, height: 900 },
      colorScheme: "light",
    });
    const findings = await look(page, { url: `file://${path}`, axe: source });
    await Deno.stdout.write(new TextEncoder().encode(`${JSON.stringify(findings)}\n`));
  } finally {
    await browser.close();
  }
}

if (import.meta.main) await main();
