import { formatDuration, RunProgress } from "../../commands/shared/progress.ts";
import { assertEquals, assertMatch } from "../helpers/assert.ts";
import { fakeScreen } from "../helpers/fake_model.ts";

/** A clock that stands still until it is told to go on. */
class StoppedClock implements Disposable {
  readonly #now = performance.now;
  #ms = 1000;

  constructor() {
    performance.now = () => this.#ms;
  }

  /** Far enough that a bar is drawn again. */
  advance(): void {
    this.#ms += 120;
  }

  [Symbol.dispose](): void {
    performance.now = this.#now;
  }
}

Deno.test("formatDuration() picks units that people read", () => {
  const texts = [0.4, 59.6, 65, 3599.4, 7625].map(formatDuration);
  assertEquals(texts, ["0 s", "1 min 00 s", "1 min 05 s", "59 min 59 s", "2 h 07 min"]);
});

Deno.test("RunProgress draws how many samples are done", () => {
  using clock = new StoppedClock();
  const bars: string[] = [];
  const screen = { ...fakeScreen(), isTerminal: true, bar: (text: string) => void bars.push(text) };
  const progress = new RunProgress(screen, { totalCount: 6 });
  progress.expect({ moreCount: -2 });
  progress.skip(1);
  progress.label = "vt at 4096";
  clock.advance();
  progress.update({ phase: "phase 1", fraction: 0.5, generatedTokens: 0 });
  assertEquals(bars, ["[########----------------] 1/4 samples, vt at 4096, phase 1"]);
  progress.finishSample();
  assertEquals(bars.length, 1);
});

Deno.test("RunProgress shows score, tokens and their rate while an answer is generated", () => {
  using clock = new StoppedClock();
  const bars: string[] = [];
  const screen = { ...fakeScreen(), isTerminal: true, bar: (text: string) => void bars.push(text) };
  const progress = new RunProgress(screen, { totalCount: 4 });
  progress.label = "vt at 4096";
  progress.score = "95.0 ± 2.2";
  for (const generatedTokens of [1, 9]) {
    clock.advance();
    progress.update({ phase: "phase 2", fraction: 0.1, generatedTokens });
  }
  const [first = "", second = ""] = bars.map((bar) => bar.replace(/^\[.*?\] /, ""));
  assertEquals(first, "0/4 samples, vt at 4096, 95.0 ± 2.2, phase 2, 1 token");
  assertMatch(
    second,
    /^0\/4 samples, vt at 4096, 95\.0 ± 2\.2, phase 2, 9 tokens, \d+\.\d tokens\/s$/,
  );
});

Deno.test("RunProgress counts all samples that are under way, and what each has done", () => {
  using clock = new StoppedClock();
  const bars: string[] = [];
  const screen = { ...fakeScreen(), isTerminal: true, bar: (text: string) => void bars.push(text) };
  const progress = new RunProgress(screen, { totalCount: 4 });
  const draw = (update: () => void): string => {
    // No bar is drawn sooner than that.
    clock.advance();
    update();
    return bars.at(-1) ?? "";
  };
  progress.update({ phase: "phase 2", fraction: 1, generatedTokens: 3 }, "first");
  progress.update({ phase: "phase 2", fraction: 1, generatedTokens: 5 }, "second");
  const three = draw(() =>
    progress.update({ phase: "phase 1", fraction: 0, generatedTokens: 0 }, "third")
  );
  // Two whole samples of four, though none is finished; five tokens came behind the first three.
  assertMatch(three, /^\[#{12}-{12}\] 0\/4 samples, 3 at once, \d+\.\d tokens\/s$/);
  progress.finishSample("second");
  const two = draw(() =>
    progress.update({ phase: "phase 2", fraction: 1, generatedTokens: 9 }, "third")
  );
  assertMatch(two, /^\[#{18}-{6}\] 1\/4 samples, 2 at once, \d+\.\d tokens\/s, \d+ s left$/);
  progress.finishSample("first");
  const one = draw(() =>
    progress.update({ phase: "phase 2", fraction: 1, generatedTokens: 10 }, "third")
  );
  assertMatch(one, /^\[#{18}-{6}\] 2\/4 samples, phase 2, 10 tokens, /);
});
