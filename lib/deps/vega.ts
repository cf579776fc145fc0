/**
 * Draws charts with Vega-Lite and Vega as SVG: a program of its own, and the only one that names the
 * packages.
 *
 * They are large, and reports alone need them. Whatever stands in the program's lock file is fetched
 * whenever the program starts; these have a lock file of their own, and are fetched when a child of
 * this program is asked to draw. Specifiers that are no literals keep Deno from fetching them before.
 *
 * @module
 */

import { fileURLToPath } from "node:url";

const PACKAGES: { readonly vega: string; readonly vegaLite: string } = {
  vega: "npm:vega@6.4.0",
  vegaLite: "npm:vega-lite@6.5.0",
};

interface Vega {
  parse(spec: unknown): unknown;
  View: new (flow: unknown, options: { renderer: "none" }) => {
    toSVG(): Promise<string>;
    finalize(): void;
  };
}

interface VegaLite {
  compile(spec: unknown): { readonly spec: unknown };
}

/** Descriptions of charts; JSON crosses to the child and back. */
export type ChartSpec = Readonly<Record<string, unknown>>;

/**
 * Draws charts in a child process.
 *
 * @param specs Charts in Vega-Lite's language.
 * @returns An SVG's text for each.
 * @throws {Error} If the packages cannot be had, for example without a network.
 */
export async function drawCharts(specs: readonly ChartSpec[]): Promise<readonly string[]> {
  const entry = new URL(import.meta.url);
  const lock = new URL("./vega.lock", entry);
  const isLocal = entry.protocol === "file:";
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "--no-prompt", "--no-config", "--allow-read"],
      ...isLocal ? [`--lock=${fileURLToPath(lock)}`, "--frozen"] : ["--no-lock"],
      entry.href,
    ],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const output = child.output();
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(JSON.stringify(specs)));
    await writer.close();
  } catch {
    // A child that ends early says why on its standard error.
  }
  const { success, stdout, stderr } = await output;
  const decoder = new TextDecoder();
  if (!success) throw new Error(reasonIn(decoder.decode(stderr)));
  return JSON.parse(decoder.decode(stdout));
}

/** The first line that says something. */
function reasonIn(text: string): string {
  // deno-lint-ignore no-control-regex
  const lines = text.replaceAll(/\x1b\[[0-9;]*m/g, "").split("\n").map((line) => line.trim());
  return (lines.find((line) => /error/i.test(line)) ?? lines[0] ?? "it ended without a word")
    .replace(/^(error: )?(Uncaught )?(\(in promise\) )?/, "");
}

async function main(): Promise<void> {
  const vega: Vega = await import(PACKAGES.vega);
  const vegaLite: VegaLite = await import(PACKAGES.vegaLite);
  const specs: readonly ChartSpec[] = await new Response(Deno.stdin.readable).json();
  const charts: string[] = [];
  for (const spec of specs) {
    const view = new vega.View(vega.parse(vegaLite.compile(spec).spec), { renderer: "none" });
    charts.push(await view.toSVG());
    view.finalize();
  }
  const bytes = new TextEncoder().encode(JSON.stringify(charts));
  for (let at = 0; at < bytes.length;) at += Deno.stdout.writeSync(bytes.subarray(at));
}

if (import.meta.main) await main();
