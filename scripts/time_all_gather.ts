/**
 * Times an all-gather over MPI: `mpirun -np 4 deno run -A scripts/time_all_gather.ts [bytes] [mpich]`.
 *
 * Prints the median and the 90th percentile of 2,000 exchanges, as rank 0 sees them.
 *
 * @module
 */
import { MpiCollective } from "../lib/parallel/mpi.ts";

const WARM_UPS = 200;
const ROUNDS = 2_000;

async function main(): Promise<void> {
  const [bytes = "16384", flavour = "openmpi"] = Deno.args;
  const collective = await MpiCollective.join({
    flavour: flavour === "mpich" ? "mpich" : "openmpi",
    timeoutMs: 60_000,
  });
  const part = new Uint8Array(Number(bytes)).fill(collective.rank + 1);
  const out = new Uint8Array(collective.size * part.length);
  const times: number[] = [];
  for (let round = 0; round < WARM_UPS + ROUNDS; round++) {
    const startMs = performance.now();
    await collective.allGather(part, out);
    if (round >= WARM_UPS) times.push((performance.now() - startMs) * 1000);
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? NaN).toFixed(0);
  if (collective.rank === 0) {
    const line = `${collective.version}: all-gather of ${part.length} bytes among ` +
      `${collective.size} ranks: median ${at(0.5)} us, 90 % below ${at(0.9)} us\n`;
    await Deno.stdout.write(new TextEncoder().encode(line));
  }
  await collective.leave();
}

if (import.meta.main) await main();
