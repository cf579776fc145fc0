import {
  ENGINE_FLAGS,
  jobKeyFileOf,
  startTimeoutOf,
  withFlagNames,
} from "../../commands/shared/engine_flags.ts";
import { LOAD_DEFAULTS } from "../../lib/engine/options.ts";
import { assertEquals } from "../helpers/assert.ts";

/** What ranks need to know before one of them runs the command. */
function early(line: string): [key: string | undefined, startTimeoutMs: number] {
  const args = line.split(" ");
  return [jobKeyFileOf(args, ENGINE_FLAGS), startTimeoutOf(args, ENGINE_FLAGS)];
}

Deno.test("jobKeyFileOf() and startTimeoutOf() read flags as the command will", () => {
  const usual = LOAD_DEFAULTS.startTimeoutMs;
  assertEquals(early("infer --job_key a --start_timeout 7"), ["a", 7000]);
  assertEquals(early("infer --job_key=a --start_timeout=7"), ["a", 7000]);
  // Shortened, and the last of several.
  assertEquals(early("infer --job a --start_t=7 --job=b --start 9"), ["b", 9000]);
  // The command says what is wrong with these.
  assertEquals(early("infer --start_timeout x"), [undefined, usual]);
  assertEquals(early("infer --t 5 --job_key a"), [undefined, usual]);
  assertEquals(early("infer"), [undefined, usual]);
});

Deno.test("withFlagNames() names a flag for an option, and for a part of one", () => {
  const message = (name: string) => `Cannot select tiles as '${name}' must be above 0`;
  assertEquals(withFlagNames(message("threshold")), message("--threshold"));
  assertEquals(withFlagNames(message("threshold.share")), message("--threshold"));
  assertEquals(withFlagNames(message("x.share")), message("x.share"));
});
