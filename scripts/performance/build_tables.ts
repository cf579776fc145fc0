/**
 * The tables of `docs/performance.md` that set two builds side by side, measured in turn.
 *
 * @module
 */
import { median } from "../../commands/bench/timings.ts";
import { type BenchRecord, type BenchRecords, numberAt, numbersAt } from "./records.ts";
import { seconds, type Table } from "./table.ts";

/** Builds that were measured in turn. */
const BUILDS = ["before", "after"] as const;

/** A row of two builds' figures, one for each round, or each GPU, that has some values. */
function buildsRow(
  name: string,
  rounds: (build: string) => readonly BenchRecord[],
  figure: { unit: string; of: (record: BenchRecord) => string },
): string[] {
  const cell = (build: string) => `${rounds(build).map(figure.of).join(", ")} ${figure.unit}`;
  return [name, ...BUILDS.map(cell)];
}

const inSeconds = (of: (record: BenchRecord) => number) => ({
  unit: "s",
  of: (record: BenchRecord) => seconds(of(record)),
});

/** A prefill of a record by its number, the median of its repeats. */
const prefillFigure = (number: number) =>
  inSeconds((record) => median(numbersAt(record, `prefill.${number}.seconds`)));

/** Products' results in bf16. */
export function h200Results(records: BenchRecords): Table {
  const row = (name: string, part: string, figure: Parameters<typeof buildsRow>[2]): string[] =>
    buildsRow(name, (build) => records.all("h200-results", { build, part }), figure);
  const at = (path: string) => inSeconds((record) => numberAt(record, path));
  return {
    head: ["prefill", ...BUILDS.map((build) => `>${build}`)],
    rows: [
      row("8,192", "dense", prefillFigure(1)),
      row("- its products", "dense", at("prefill.1.matmul_s")),
      row("- all but products and attention", "dense", at("prefill.1.rest_s")),
      row("8,192, `--weights fp8`", "fp8", prefillFigure(0)),
      row("131,072, `xattn`, a tenth of the tiles", "xattn", prefillFigure(0)),
      row("131,072, the same with `--rest mean`", "mean", prefillFigure(0)),
      row("memory at 131,072, `xattn`", "xattn", {
        unit: "GiB",
        of: (record) => (numberAt(record, "device_mib") / 1024).toFixed(1),
      }),
    ],
  };
}

/** Whole prefills of two builds in turn: a figure for each of two GPUs. */
export function h200Prefill(records: BenchRecords): Table {
  const row = (name: string, mode: string, { part, number }: { part: string; number: number }) =>
    buildsRow(
      name,
      (build) => records.all("h200-prefill", { build, mode, part }),
      prefillFigure(number),
    );
  const long = { part: "long", number: 0 };
  return {
    head: ["prefill", ...BUILDS.map((build) => `>${build}`)],
    rows: [
      row("8,192, dense", "dense", { part: "short", number: 1 }),
      row("131,072, dense", "dense", long),
      row("131,072, `star`, block and anchor 16,384", "star", long),
      row("131,072, `xattn`, a tenth of the tiles", "xattn", long),
    ],
  };
}
