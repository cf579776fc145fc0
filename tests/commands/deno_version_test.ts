import { checkDenoVersion } from "../../commands/shared/deno_version.ts";
import { DeviceError } from "../../lib/errors.ts";
import { assertThrows } from "../helpers/assert.ts";

Deno.test("checkDenoVersion() takes Deno 2.7 and later, and names an older one", () => {
  for (const version of ["2.7.0", "2.9.6", "2.10.0", "3.0.0-rc.1", Deno.version.deno]) {
    checkDenoVersion(version);
  }
  for (const version of ["1.46.3", "2.5.0", "2.6.8"]) {
    assertThrows(
      () => checkDenoVersion(version),
      DeviceError,
      `Cannot run as Deno must be 2.7 or later: current value is ${version}`,
    );
  }
});
