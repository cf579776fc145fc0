/**
 * Which rank tells the user why a run ends, on a network and on machines as slow as one likes: time
 * is made up here.
 *
 * @module
 */
import { Absence, Ending } from "../../lib/parallel/ending.ts";
import { Peers } from "../../lib/parallel/peers.ts";
import { RankStatus } from "../../lib/parallel/state.ts";
import { assert, assertEquals } from "../helpers/assert.ts";
import { Random } from "../helpers/random.ts";

const PATIENCE_MS = 7_000;
const REPORT_MS = 1_000;
const LOOK_MS = 40;
/** By then all has happened. */
const END_MS = 120_000;

/** Events of a time that passes only when all have nothing to do. */
class Time {
  nowMs = 0;
  readonly #events: { atMs: number; run: () => void }[] = [];

  at(atMs: number, run: () => void): void {
    this.#events.push({ atMs, run });
  }

  /** Lets time pass until nothing is to come. */
  async pass(): Promise<void> {
    for (;;) {
      for (let turn = 0; turn < 8; turn++) await Promise.resolve();
      const next = this.#events.reduce(
        (first, event, index) =>
          event.atMs < (this.#events[first]?.atMs ?? Infinity) ? index : first,
        0,
      );
      const [event] = this.#events.splice(next, 1);
      if (event === undefined) return;
      this.nowMs = Math.max(this.nowMs, event.atMs);
      event.run();
    }
  }
}

/** What a rank of a test meets. */
interface Fate {
  /** When it notices a loss by itself. */
  readonly noticesMs?: number;
  /** It never runs, from the start. */
  readonly isLost?: boolean;
  /** It ends as soon as it has given up. */
  readonly isKilled?: boolean;
  /** Its words stop at this time. */
  readonly isMute?: boolean;
  /** Times in which it does not run. */
  readonly pauses?: readonly { fromMs: number; toMs: number }[];
}

interface World {
  readonly fates: readonly Fate[];
  delayMs(from: number, to: number): number;
}

/** What happened, in order: `1 tells`, `0 ends`. */
async function play(world: World): Promise<string[]> {
  const time = new Time();
  const story: string[] = [];
  const ranks = world.fates.map((_, rank) => new Rank(rank, { world, time, story }));
  for (const rank of ranks) rank.others = ranks;
  const running = ranks.filter((_, rank) => world.fates[rank]?.isLost !== true)
    .map((rank) => rank.run());
  await time.pass();
  await Promise.all(running);
  return story;
}

class Rank {
  others: readonly Rank[] = [];
  readonly #rank: number;
  readonly #fate: Fate;
  readonly #setting: { world: World; time: Time; story: string[] };
  readonly #peers: Peers;
  readonly #ending: Ending;
  readonly #arrivals = new Map<number, number>();
  readonly #reports: ReturnType<Peers["report"]>[] = [];
  #hasTakenLeave = false;
  #isOver = false;

  constructor(rank: number, setting: { world: World; time: Time; story: string[] }) {
    this.#rank = rank;
    this.#setting = setting;
    this.#fate = setting.world.fates[rank] ?? {};
    const size = setting.world.fates.length;
    this.#peers = new Peers({ rank, size, silenceMs: PATIENCE_MS, maxStepMs: 2 * REPORT_MS });
    const clock = { nowMs: () => setting.time.nowMs, sleep: (ms: number) => this.#sleep(ms) };
    this.#ending = new Ending({
      ...{ rank, peers: this.#peers, patienceMs: PATIENCE_MS, isCutOff: false },
      hear: () => this.#hear(),
      say: () => this.#say(),
      flush: () => Promise.resolve(),
    }, clock);
  }

  async run(): Promise<void> {
    this.#reportOften();
    const { noticesMs = Infinity, isKilled = false } = this.#fate;
    const { time, story } = this.#setting;
    for (; time.nowMs < END_MS; await this.#sleep(LOOK_MS)) {
      this.#hear();
      this.#peers.findSilent(time.nowMs);
      const isOwn = time.nowMs >= noticesMs;
      if (this.#peers.abort === undefined && !isOwn) continue;
      if (this.#peers.abort === undefined) {
        this.#peers.noteAbort({ rank: this.#rank, reason: "it is lost" });
        this.#takeLeave();
        if (isKilled) break;
        if (await this.#ending.agree()) {
          story.push(`${this.#rank} tells`);
          await this.#ending.told();
          break;
        }
      }
      await this.#ending.untilTold();
      break;
    }
    this.#isOver = true;
    story.push(`${this.#rank} ends`);
  }

  async #reportOften(): Promise<void> {
    while (!this.#isOver) {
      this.#say();
      await this.#sleep(REPORT_MS);
    }
  }

  #takeLeave(): void {
    if (this.#hasTakenLeave) return;
    this.#hasTakenLeave = true;
    this.#say();
  }

  #say(): void {
    const { world, time } = this.#setting;
    if (this.#fate.isMute === true && this.#peers.abort !== undefined) return;
    const status = new RankStatus();
    status.enter("phase 2");
    const report = this.#peers.report(status, 0);
    for (const other of this.others) {
      if (other === this) continue;
      const atMs = time.nowMs + world.delayMs(this.#rank, other.#rank);
      if (atMs === Infinity) continue;
      // What one says to another comes in order.
      const inOrderMs = Math.max(atMs, (this.#arrivals.get(other.#rank) ?? 0) + 0.001);
      this.#arrivals.set(other.#rank, inOrderMs);
      time.at(inOrderMs, () => other.#reports.push(report));
    }
  }

  #hear(): void {
    for (const report of this.#reports.splice(0)) this.#peers.hear(report);
    if (this.#peers.abort !== undefined) this.#takeLeave();
  }

  async #sleep(durationMs: number): Promise<void> {
    const { time } = this.#setting;
    let untilMs = time.nowMs + durationMs;
    for (const { fromMs, toMs } of this.#fate.pauses ?? []) {
      if (untilMs >= fromMs && untilMs < toMs) untilMs = toMs;
    }
    await new Promise<void>((resolve) => time.at(untilMs, resolve));
  }
}

const none = () => 0;

/** Four ranks that notice at about the same time that the third is lost. */
function slowWorld(seed: number): World {
  const random = new Random(seed);
  const words = Array.from({ length: 16 }, () => random.below(2) * random.below(1_500));
  const fates = Array.from({ length: 4 }, (_, rank): Fate => {
    const pauses: { fromMs: number; toMs: number }[] = [];
    for (let fromMs = random.below(2_000); fromMs < 60_000;) {
      const toMs = fromMs + random.below(3_500);
      pauses.push({ fromMs, toMs });
      fromMs = toMs + random.below(2_000);
    }
    const noticesMs = 8_000 + random.below(4) * random.below(600);
    return rank === 2 ? { isLost: true } : { noticesMs, pauses };
  });
  return { fates, delayMs: (from, to) => words[from * 4 + to] ?? 0 };
}

Deno.test("Ending.agree() lets one rank tell before any ends, however slow ranks and words are", async () => {
  const tellers = new Set<string>();
  for (let seed = 1; seed <= 80; seed++) {
    const story = await play(slowWorld(seed));
    const [first = ""] = story;
    tellers.add(first);
    assert(first.endsWith(" tells"), `seed ${seed}: ${story}`);
    const expected = [first, "0 ends", "1 ends", "3 ends"];
    assertEquals(story.toSorted(), expected.toSorted(), `seed ${seed}: ${story}`);
  }
  // The first to notice tells if the others learn of it in time.
  assertEquals([...tellers].sort(), ["0 tells", "1 tells", "3 tells"]);
});

Deno.test("Ending.agree() lets the lowest of those tell that notice before they hear of each other", async () => {
  for (const [noticed, expected] of [[[5, 3, 1, 2], 0], [[0, 30, 10, 20], 1]] as const) {
    const fates = noticed.map((ms): Fate => ms === 0 ? {} : { noticesMs: 1_000 + ms });
    const [first] = await play({ fates, delayMs: () => 400 });
    assertEquals(first, `${expected} tells`);
  }
});

Deno.test("Ending.agree() waits for a rank that is heard of, and not for one that was silent", async () => {
  const late = { fromMs: 1_000, toMs: 6_000 };
  const slow = await play({ fates: [{ noticesMs: 990, pauses: [late] }, {}], delayMs: none });
  assertEquals(slow, ["0 tells", "0 ends", "1 ends"]);
  const time = new Time();
  const peers = new Peers({ rank: 0, size: 2, silenceMs: PATIENCE_MS, maxStepMs: 2_000 });
  const ending = new Ending({
    ...{ rank: 0, peers, patienceMs: PATIENCE_MS, isCutOff: false },
    ...{ hear: () => {}, say: () => {}, flush: () => Promise.resolve() },
  }, {
    nowMs: () => time.nowMs,
    sleep: (ms) => new Promise((done) => time.at(time.nowMs + ms, done)),
  });
  for (; time.nowMs < 6_000; time.nowMs += 1_000) peers.findSilent(time.nowMs);
  peers.noteAbort({ rank: 0, reason: "it is lost" });
  const agreed = ending.agree();
  await time.pass();
  assertEquals(await agreed, true);
  assertEquals(Math.round(time.nowMs / 100), PATIENCE_MS / 100);
});

Deno.test("Ending.untilTold() ends when the one that was to tell is gone", async () => {
  const fates = [{ noticesMs: 1_000, isKilled: true }, {}, {}];
  assertEquals((await play({ fates, delayMs: () => 10 })).toSorted(), [
    "0 ends",
    "1 ends",
    "2 ends",
  ]);
});

Deno.test("Ending of ranks that are cut off from each other lets each side tell", async () => {
  const fates = [{ noticesMs: 8_000 }, { noticesMs: 8_010 }, { noticesMs: 8_020 }, {}];
  const sideOf = (rank: number) => rank < 2 ? 0 : 1;
  const delayMs = (from: number, to: number) => sideOf(from) === sideOf(to) ? 20 : Infinity;
  const story = await play({ fates, delayMs });
  assertEquals(story.filter((line) => line.endsWith("tells")).toSorted(), ["0 tells", "2 tells"]);
  for (const [teller, other] of [["0 tells", "1 ends"], ["2 tells", "3 ends"]] as const) {
    assert(story.indexOf(teller) < story.indexOf(other), `${story}`);
  }
});

Deno.test("Ending.agree() does not wait for ever for a rank that is heard of and never answers", async () => {
  const fates = [{ noticesMs: 1_000 }, { isMute: true }];
  const story = await play({ fates, delayMs: (from) => from === 0 ? Infinity : 0 });
  assertEquals(story.slice(0, 2), ["0 tells", "0 ends"]);
});

Deno.test("Absence.isFresh() holds for a while after a stop that others do not wait for", () => {
  const absence = new Absence({ limitMs: 7_000, nowMs: 0 });
  assertEquals(absence.isFresh(6_999), false);
  assertEquals(absence.isFresh(13_000), false);
  assertEquals(absence.sinceMs(13_000), Infinity);
  assertEquals(absence.isFresh(20_000), true);
  assertEquals(absence.sinceMs(20_400), 400);
  for (let nowMs = 20_500; nowMs < 27_000; nowMs += 500) assertEquals(absence.isFresh(nowMs), true);
  assertEquals(absence.isFresh(27_000), false);
});
