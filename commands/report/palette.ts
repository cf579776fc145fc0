/**
 * Colours of a report's charts. A chart is drawn once and shown in light and in dark: it is drawn with
 * stand-ins, which become variables of the page's style.
 *
 * @module
 */

/** What a chart is drawn with, by what it stands for. */
export const INK = {
  ink: "#0b0001",
  muted: "#0b0002",
  grid: "#0b0003",
  paper: "#0b0004",
} as const;

/** One for each experiment, as many as can be told apart. */
export const SERIES = [
  "#0a0001",
  "#0a0002",
  "#0a0003",
  "#0a0004",
  "#0a0005",
  "#0a0006",
  "#0a0007",
  "#0a0008",
] as const;

/** The marks that tell experiments apart without colours. */
export const SHAPES = [
  "circle",
  "square",
  "triangle-up",
  "diamond",
  "cross",
  "triangle-down",
  "triangle-right",
  "triangle-left",
] as const;

/** The page's variable of an experiment. */
export function seriesVariable(index: number): string {
  return `var(--s${index % SERIES.length + 1})`;
}

/** Shades from little to much, legible on light and dark pages. */
export const SHADES = ["#e3ecf9", "#b5cdf0", "#7fa8e2", "#4b80cb", "#2557a3", "#123567"] as const;

/** Shades of scores from missed to right. */
export const SCORE_SHADES = ["#b6403a", "#dd8452", "#ecc875", "#8fbf7f", "#3b8f5f"] as const;

/** A drawn chart with the page's variables in place of the stand-ins. */
export function withVariables(svg: string): string {
  let text = svg;
  for (const [name, color] of Object.entries(INK)) {
    text = text.replaceAll(color, `var(--${name})`);
  }
  for (const [index, color] of SERIES.entries()) {
    text = text.replaceAll(color, seriesVariable(index));
  }
  return text;
}
