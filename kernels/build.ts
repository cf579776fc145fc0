/**
 * Builds the kernel libraries and the manifest that names them: `deno task build:cpu`,
 * `deno task build:cuda`. A library replaces an older one only when it is whole.
 *
 * @module
 */
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { errorText } from "../lib/errors.ts";
import { buildCpu } from "./build_cpu.ts";
import { buildCuda, GENERIC_ARCHITECTURES } from "./build_cuda.ts";
import { ROOT, updateManifest } from "./build_tools.ts";

if (import.meta.main) Deno.exit(await main(Deno.args));

/** Runs the command line. @returns The exit code. */
async function main(args: string[]): Promise<number> {
  const encoder = new TextEncoder();
  try {
    const { values, positionals } = parseArgs({
      args,
      allowPositionals: true,
      options: {
        out: { type: "string" },
        jobs: { type: "string" },
        architectures: { type: "string" },
      },
    });
    const [backend] = positionals;
    if (positionals.length !== 1 || (backend !== "cpu" && backend !== "cuda")) {
      throw new TypeError(
        "Cannot build as the target must be 'cpu' or 'cuda': " +
          `current value is ${positionals.join(" ")}`,
      );
    }
    const out = resolve(values.out ?? `${ROOT}/prebuilt`);
    const jobs = Math.max(1, Number(values.jobs ?? navigator.hardwareConcurrency) || 1);
    const architectures = values.architectures?.split(",") ?? GENERIC_ARCHITECTURES;
    await Deno.mkdir(out, { recursive: true });
    const libraries = backend === "cpu"
      ? await buildCpu({ out, jobs })
      : await buildCuda({ out, jobs, architectures });
    await updateManifest(out, { backend, libraries });
    for (const { file, bytes, sha256 } of libraries) {
      await Deno.stdout.write(encoder.encode(`${out}/${file}  ${bytes} bytes  ${sha256}\n`));
    }
    return 0;
  } catch (error) {
    await Deno.stderr.write(encoder.encode(`${errorText(error)}\n`));
    return 1;
  }
}
