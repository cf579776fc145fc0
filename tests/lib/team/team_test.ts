/**
 * Teams, alone and as children: many requests in flight, refused ones, cancelled ones, and what
 * disposal does to those that run.
 *
 * @module
 */
import { RequestError } from "../../../lib/errors.ts";
import { openTeam } from "../../../lib/team/open_team.ts";
import type { Team, TeamPlace } from "../../../lib/team/team.ts";
import { assert, assertEquals, assertRejects } from "../../helpers/assert.ts";
import { sleep } from "../../helpers/fake_team.ts";
import { FAKE_PROGRAM, type FakeTypes } from "../../helpers/fake_rank.ts";

const PLACES: readonly (readonly [string, TeamPlace])[] = [
  ["alone", { kind: "alone" }],
  ["of one child", { kind: "children", size: 1, timeoutMs: 60_000 }],
  ["of three children", { kind: "children", size: 3, timeoutMs: 60_000 }],
];

function open(place: TeamPlace): Promise<Team<FakeTypes>> {
  return openTeam(FAKE_PROGRAM, { greeting: "hello" }, place);
}

function values(results: readonly FakeTypes["result"][]): string[] {
  return results.map(({ value }) => value);
}

for (const [name, place] of PLACES) {
  Deno.test(`a team ${name} answers requests that come at once, each its own`, async () => {
    await using team = await open(place);
    const all = Array.from({ length: 20 }, (_, i) => {
      return i % 3 === 2
        ? team.run({ kind: "gather", sample: i, rounds: 3 })
        : team.run({ kind: "echo", value: `request ${i}` });
    });
    const sum = team.size === 1 ? "3" : "99";
    for (const [i, results] of (await Promise.all(all)).entries()) {
      const expected = i % 3 === 2 ? sum : `request ${i}`;
      assertEquals(values(results), team.ready.map(() => expected));
      assertEquals(results.map(({ rank }) => rank), team.ready.map((_, rank) => rank));
    }
  });

  Deno.test(`a team ${name} goes on after a request that is refused`, async () => {
    await using team = await open(place);
    const last = team.size - 1;
    const message = "Cannot do this";
    const refused = { kind: "refuse", rank: last, name: "KernelError", message } as const;
    const both = [team.run(refused), team.run({ kind: "echo", value: "next" })] as const;
    const error = await assertRejects(() => both[0]);
    assertEquals([error.name, error.message], ["KernelError", message]);
    assertEquals(values(await both[1]), team.ready.map(() => "next"));
  });

  for (const alone of [false, true]) {
    const how = alone ? "that each rank stops on its own" : "at the next turn";
    Deno.test(`a team ${name} ends a cancelled request ${how}, and goes on`, async () => {
      await using team = await open(place);
      for (let i = 0; i < 5; i++) {
        const abort = new AbortController();
        const endless = { kind: "turns", sample: i, count: 1e9, alone } as const;
        const run = team.run(endless, {
          signal: abort.signal,
          onProgress: ({ done }) => {
            if (done > 2 + i) abort.abort(new RequestError(`enough ${i}`));
          },
        });
        const next = team.run({ kind: "gather", sample: i, rounds: 1 });
        await assertRejects(() => run, RequestError, `enough ${i}`);
        assertEquals((await next).length, team.size);
      }
    });
  }

  Deno.test(`a team ${name} drops requests that are cancelled before their turn`, async () => {
    await using team = await open(place);
    const first = new AbortController();
    const endless = { kind: "turns", sample: 0, count: 1e9 } as const;
    const running = team.run(endless, { signal: first.signal });
    const waiting = new AbortController();
    const others = [1, 2, 3].map(() => team.run(endless, { signal: waiting.signal }));
    await sleep(20);
    waiting.abort();
    // They end although the one before them does not.
    for (const other of others) await assertRejects(() => other, DOMException, "aborted");
    first.abort();
    await assertRejects(() => running, DOMException, "aborted");
    await assertRejects(() => team.run(endless, { signal: first.signal }), DOMException);
    assertEquals(values(await team.run({ kind: "echo", value: "" })), team.ready.map(() => ""));
  });

  Deno.test(`a team ${name} ends what runs when it is disposed, and takes nothing more`, async () => {
    const team = await open(place);
    const endless = { kind: "turns", sample: 0, count: 1e9 } as const;
    const runs = [team.run(endless), team.run(endless), team.run({ kind: "echo", value: "" })]
      .map((run) => assertRejects(() => run, DOMException, "as the team was closed"));
    await sleep(20);
    await Promise.all([team[Symbol.asyncDispose](), team[Symbol.asyncDispose]()]);
    await Promise.all(runs);
    await assertRejects(() => team.run(endless), TypeError, "as the team is closed");
  });
}

Deno.test("a team alone survives any error of a request but a bug", async () => {
  await using team = await open({ kind: "alone" });
  for (const name of ["UsageError", "FileError", "KernelError", "RangeError"]) {
    const request = { kind: "throw", rank: 0, name, message: "Cannot do this" } as const;
    const error = await assertRejects(() => team.run(request));
    assertEquals(error.name, name);
  }
  const bug = { kind: "throw", rank: 0, name: "InvariantError", message: "a bug" } as const;
  const error = await assertRejects(() => team.run(bug));
  assertEquals(error.name, "InvariantError");
  assert(await assertRejects(() => team.run({ kind: "echo", value: "" })) === error);
});
