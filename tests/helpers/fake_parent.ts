/**
 * A program that starts a team, prints the ranks' process numbers, and runs one request.
 *
 * Arguments: the entry's address, the number of ranks, the request as JSON.
 *
 * @module
 */
import { ChildTeam } from "../../lib/team/child_team.ts";
import type { FakeTypes } from "./fake_rank.ts";

if (import.meta.main) {
  const [entry = "", size = "", request = ""] = Deno.args;
  await using team = await ChildTeam.start<FakeTypes>({ greeting: "hello" }, {
    entry: new URL(entry),
    size: Number(size),
    permissions: [],
    timeoutMs: 20_000,
  });
  const write = (value: unknown) =>
    Deno.stdout.writeSync(new TextEncoder().encode(`${JSON.stringify(value)}\n`));
  write(team.ready.map(({ pid }) => pid));
  write(await team.run(JSON.parse(request)));
}
