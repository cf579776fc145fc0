/**
 * A model whose public calls come in any order and at once: right results, errors of the classes that
 * are promised, memory that is freed, and never the end of the process.
 *
 * @module
 */
import { RequestError } from "../../../lib/errors.ts";
import { loadModel, type Model } from "../../../lib/engine/load_model.ts";
import { type Encoded, openPhases, type Phases } from "../../../lib/engine/phases.ts";
import { assert, assertEquals, assertRejects } from "../../helpers/assert.ts";
import { goldenEntries } from "../../helpers/golden.ts";
import { goldenRequest, MODEL, openTiny, STAR } from "../../helpers/prompts.ts";

const PLAN = { mode: "star", blockTokens: 256 } as const;
const SAMPLES = ["niah_single_3", "niah_multikey_2"] as const;

for (const processCount of [1, 2]) {
  const where = processCount === 1 ? "one process" : "two processes";

  Deno.test(`generate() gives requests that come at once their own ids on ${where}`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount });
    const requests = await Promise.all(SAMPLES.map((task) => goldenRequest({ task })));
    const alone: (readonly number[])[] = [];
    for (const request of requests) alone.push((await engine.generate(request)).ids);
    const all = [0, 1, 0, 1, 1, 0];
    const found = await Promise.all(all.map(async (i) => {
      const request = requests[i];
      assert(request !== undefined);
      return (await engine.generate(request)).ids;
    }));
    assertEquals(found, all.map((i) => alone[i]));
  });

  Deno.test(`generate() refuses what is wrong on ${where}, and goes on`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount });
    const request = await goldenRequest({ task: SAMPLES[0] });
    const expected = (await engine.generate(request)).ids;
    const wrong = [
      { ...request, queryIds: new Int32Array(0) },
      { ...request, tokensToGenerate: 0 },
      { ...request, topLogits: -1 },
      { ...request, contextIds: Int32Array.of(1, 1 << 30) },
      { ...request, queryIds: Int32Array.of(-1) },
    ];
    for (const one of wrong) await assertRejects(() => engine.generate(one), RequestError);
    // Nobody can have so much memory: each rank finds it where it takes its own.
    const huge = { ...request, tokensToGenerate: 2 ** 40 };
    const error = await assertRejects(() => engine.generate(huge));
    assert(error.name === "KernelError" || error instanceof RangeError, `${error}`);
    assertEquals((await engine.generate(request)).ids, expected);
  });

  Deno.test(`generate() ends in both phases when its signal says so on ${where}`, async () => {
    await using engine = await openTiny({ plan: STAR, processCount });
    const request = await goldenRequest({ task: SAMPLES[1], repeat: 4, tokensToGenerate: 2000 });
    const short = await goldenRequest({ task: SAMPLES[0] });
    const expected = (await engine.generate(short)).ids;
    for (const phase of ["phase 1", "phase 2"] as const) {
      const abort = new AbortController();
      let tokens = 0;
      const run = engine.generate(request, {
        signal: abort.signal,
        onProgress: (progress) => {
          tokens = progress.generatedTokens;
          if (progress.phase === phase) abort.abort(new RequestError(`enough of ${phase}`));
        },
      });
      await assertRejects(() => run, RequestError, `enough of ${phase}`);
      assert(tokens < 2000, "it ended before its last token");
      assertEquals((await engine.generate(short)).ids, expected);
    }
  });

  Deno.test(`disposal ends what runs on ${where}, and use after it throws`, async () => {
    const engine = await openTiny({ plan: STAR, processCount });
    const request = await goldenRequest({ task: SAMPLES[1], tokensToGenerate: 4000 });
    const started = Promise.withResolvers<void>();
    const runs = [engine.generate(request, { onProgress: () => started.resolve() })];
    runs.push(engine.generate(request));
    const ends = runs.map((run) => assertRejects(() => run, DOMException, "team was closed"));
    await started.promise;
    await engine[Symbol.asyncDispose]();
    await Promise.all(ends);
    await assertRejects(() => engine.generate(request), TypeError, "as the team is closed");
  });

  Deno.test(`openPhases() answers about contexts that are kept on ${where}`, async () => {
    await using phases = await openPhases(MODEL, {
      ...PLAN,
      processCount,
      device: "cpu",
      threads: 1,
    });
    const [first, second] = (await goldenEntries()).slice(0, 2);
    assert(first !== undefined && second !== undefined);
    const room = 80;
    const [a, b] = await Promise.all(
      [first, second].map(({ context_ids: ids }) => phases.encode(Int32Array.from(ids), { room })),
    );
    assert(a !== undefined && b !== undefined);
    const ask = async (encoded: Encoded, ids: readonly number[]) => {
      const query = {
        queryIds: Int32Array.from(ids),
        tokensToGenerate: 6,
        stopIds: [],
        topLogits: 3,
      };
      return await phases.answer(encoded, query);
    };
    const alone = [await ask(a, first.query_ids), await ask(b, second.query_ids)];
    const both = await Promise.all([ask(a, first.query_ids), ask(b, second.query_ids)]);
    assertEquals(both, alone);
    assertEquals(alone[0]?.topLogits.length, 3);
    await assertRejects(() => ask(a, Array(room).fill(1)), RequestError, "has room for");
    const last = ask(a, first.query_ids);
    a[Symbol.dispose]();
    assertEquals(await last, alone[0]);
    await assertRejects(() => ask(a, first.query_ids), TypeError, "not disposed");
    assertEquals(await ask(b, second.query_ids), alone[1]);
  });
}

/** Numbers from 0 to 1: x = 1664525 x + 1013904223 mod 2^32. */
function numbersFrom(seed: number): () => number {
  let x = seed >>> 0;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x / 2 ** 32;
  };
}

const SEED = 20_261_129;
const ACTIONS = 30;

/** The ways in which a call may fail here. */
function isPromised(error: unknown): boolean {
  return error instanceof RequestError || error instanceof TypeError ||
    error instanceof DOMException && error.name === "AbortError";
}

/** Calls of a model, one more with each step, some of which are ended by their signals. */
class Caller {
  readonly #random: () => number;
  readonly #calls: Promise<string>[] = [];
  readonly #aborts: AbortController[] = [];
  #contexts: Encoded[] = [];

  constructor(random: () => number) {
    this.#random = random;
  }

  pick<T>(items: readonly T[]): T | undefined {
    return items[Math.floor(this.#random() * items.length)];
  }

  /** Notes how a call ends. */
  note(call: PromiseLike<unknown>): void {
    this.#calls.push(
      Promise.resolve(call).then(() => "done", (error) => {
        assert(isPromised(error), `an error of another kind: ${error?.stack ?? error}`);
        return error.name;
      }),
    );
  }

  signal(): AbortSignal {
    const abort = new AbortController();
    this.#aborts.push(abort);
    return abort.signal;
  }

  act(model: Model, phases: Phases, prompts: readonly { context: string; query: string }[]): void {
    const prompt = this.pick(prompts) ?? { context: "", query: "" };
    const tokensToGenerate = this.pick([1, 4, 300]) ?? 1;
    const ids = (count: number) => new Int32Array(count).fill(7);
    const kind = Math.floor(this.#random() * 7);
    if (kind <= 1) {
      const query = this.#random() < 0.1 ? "" : prompt.query;
      const signal = this.signal();
      this.note(model.generate({ ...prompt, query }, { tokensToGenerate, signal }));
    } else if (kind === 2) {
      this.pick(this.#aborts)?.abort();
    } else if (kind === 3) {
      const length = this.pick([0, 1, 300, 900]) ?? 1;
      const call = phases.encode(ids(length), { room: 12, signal: this.signal() });
      this.note(call.then((encoded) => this.#contexts.push(encoded)));
    } else if (kind === 4) {
      this.pick(this.#contexts)?.[Symbol.dispose]();
    } else {
      const encoded = this.pick(this.#contexts);
      if (encoded === undefined) return;
      const queryIds = ids(this.pick([0, 1, 5, 12]) ?? 1);
      const query = {
        queryIds,
        tokensToGenerate: this.pick([1, 5]) ?? 1,
        stopIds: [],
        topLogits: 2,
      };
      this.note(phases.answer(encoded, query, { signal: this.signal() }));
    }
  }

  async ends(): Promise<string[]> {
    return await Promise.all(this.#calls);
  }
}

for (const processCount of [1, 2]) {
  Deno.test(`public calls in any order on ${processCount} processes end as promised`, async () => {
    const prompts = (await goldenEntries()).slice(0, 2)
      .map(({ context, query }) => ({ context, query }));
    for (let round = 0; round < 3; round++) {
      const seed = SEED + 10 * processCount + round;
      Deno.stderr.writeSync(new TextEncoder().encode(`interleaving seed ${seed}\n`));
      const random = numbersFrom(seed);
      const options = { ...PLAN, processCount, device: "cpu", threads: 1 } as const;
      const [model, phases] = await Promise.all([
        loadModel(MODEL, options),
        openPhases(MODEL, options),
      ]);
      const caller = new Caller(random);
      const disposeAt = Math.floor(ACTIONS * (0.5 + random() / 2));
      for (let i = 0; i < ACTIONS; i++) {
        if (i === disposeAt) {
          caller.note(phases[Symbol.asyncDispose]());
          caller.note(model[Symbol.asyncDispose]());
        }
        caller.act(model, phases, prompts);
        await new Promise((resolve) => setTimeout(resolve, random() * 60));
      }
      const ends = await caller.ends();
      assertEquals(ends.filter((end) => end.startsWith("not promised")), []);
      assert(ends.includes("done"), ends.join());
      await assertRejects(() => model.generate({ context: "a", query: "b" }), TypeError);
      await assertRejects(() => phases.encode(Int32Array.of(1), { room: 1 }), TypeError);
    }
  });
}
