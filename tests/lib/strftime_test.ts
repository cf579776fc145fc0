import { renderJinja } from "../../lib/deps/jinja.ts";
import { strftime } from "../../lib/deps/strftime.ts";
import { assertEquals, assertRejects } from "../helpers/assert.ts";

const FORMAT = "%d %b %Y|%Y-%m-%d|%A, %B %-d, %y|%a %e %j %w|%H:%M:%S %I %p|%F %T 100%%";

Deno.test("strftime() writes what Python does", () => {
  // From datetime(...).strftime(FORMAT).
  assertEquals(
    strftime(new Date(2024, 6, 6, 0, 5, 9), FORMAT),
    "06 Jul 2024|2024-07-06|Saturday, July 6, 24|Sat  6 188 6|00:05:09 12 AM|2024-07-06 00:05:09 100%",
  );
  assertEquals(
    strftime(new Date(2026, 11, 31, 13, 45), FORMAT),
    "31 Dec 2026|2026-12-31|Thursday, December 31, 26|Thu 31 365 4|13:45:00 01 PM|" +
      "2026-12-31 13:45:00 100%",
  );
});

Deno.test("renderJinja() gives strftime_now() the day that it is told", async () => {
  const template = "{% if strftime_now is defined %}{{ strftime_now('%A %d %b %Y') }}{% endif %}";
  const now = new Date(2024, 6, 26);
  assertEquals(await renderJinja(template, {}, { now }), "Friday 26 Jul 2024");
  assertEquals(await renderJinja("{{ strftime_now('%Y') }}", {}), `${new Date().getFullYear()}`);
  await assertRejects(
    () => renderJinja("{{ strftime_now('%Q') }}", {}),
    Error,
    "strftime_now() does not know '%Q'",
  );
});
