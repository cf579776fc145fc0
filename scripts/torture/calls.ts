/**
 * Calls of the library in any order and at once: what is right must be what one call at a time gives,
 * what is wrong must be refused by an error that callers can tell apart.
 *
 * @module
 */
import {
  type Encoded,
  loadModel,
  type Model,
  openPhases,
  type Phases,
  RequestError,
  UsageError,
} from "../../mod.ts";
import { Dice } from "./dice.ts";
import { pause, TINY } from "./programs.ts";
import type { Fault, Outcome } from "./tally.ts";
import type { User, UserTrial } from "./trials.ts";

/** What is asked. */
const PROMPTS = [4, 9, 17, 30, 50].map((repeats, i) => ({
  context: "The grass is green. The sky is blue. ".repeat(repeats) +
    `The number of door ${i} is ${(i + 1) * 1237}.\n`,
  query: `The number of door ${i} is`,
  sample: `door ${i}`,
}));
const TOKENS = 5;
const PLANS = {
  dense: { mode: "dense" },
  star: { mode: "star", blockTokens: 64, anchorTokens: 64 },
  starx: { mode: "starx", blockTokens: 128, anchorTokens: 128, stride: 16, threshold: 0.9 },
} as const;
type PlanName = keyof typeof PLANS;

/** The user that calls the library. */
export function runCalls(seed: string): User {
  const expected = new Map<PlanName, Promise<string[]>>();
  const answersOf = (plan: PlanName): Promise<string[]> => {
    const answers = expected.get(plan) ?? oneByOne(plan);
    expected.set(plan, answers);
    return answers;
  };
  return {
    draw: (index): Promise<UserTrial> => {
      const dice = new Dice(`${seed} calls ${index}`);
      const plan = dice.pick(["dense", "star", "starx"] as const);
      const processCount = plan === "dense" ? 1 : 1 + dice.below(2);
      const batchSize = dice.pick([1, 1, 2, 4, "auto"] as const);
      const what = `${plan}, ${processCount} processes, batch ${batchSize}`;
      const kind = processCount === 1 ? "in this process" : "two processes";
      const setup = { plan, processCount, batchSize, dice };
      const run = async () => await interleave(setup, await answersOf(plan));
      return Promise.resolve({ kind, what, run });
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

/** What each prompt gives when it is asked alone. */
async function oneByOne(plan: PlanName): Promise<string[]> {
  await using model = await loadModel(TINY, { ...PLANS[plan], device: "cpu", threads: 1 });
  const answers: string[] = [];
  for (const prompt of PROMPTS) {
    const { ids } = await model.generate(prompt, { tokensToGenerate: TOKENS });
    answers.push(ids.join());
  }
  return answers;
}

interface Setup {
  readonly plan: PlanName;
  readonly processCount: number;
  readonly batchSize: number | "auto";
  readonly dice: Dice;
}

/** Calls under way, and what they did that they must not. */
class Calls {
  readonly faults: Fault[] = [];
  readonly #running: Promise<void>[] = [];
  /** How many gave what they were to give. */
  right = 0;
  refused = 0;
  /** From then on calls may find the model gone. */
  isClosing = false;

  /** @param isWrong Whether the call cannot be done. */
  add(name: string, call: () => Promise<unknown>, options: { isWrong?: boolean } = {}): void {
    const run = async (): Promise<void> => {
      try {
        await call();
        if (options.isWrong === true) this.fault("other", `${name} is not refused`);
        else this.right++;
      } catch (error) {
        this.refused++;
        if (!this.#isPromised(error, options.isWrong === true)) {
          const text = error instanceof Error ? error.stack ?? error.message : String(error);
          this.fault("other", `${name}: ${text}`);
        }
      }
    };
    this.#running.push(run());
  }

  fault(kind: Fault["kind"], text: string): void {
    this.faults.push({ kind, text });
  }

  async end(): Promise<void> {
    await Promise.all(this.#running);
  }

  #isPromised(error: unknown, isWrong: boolean): boolean {
    if (isWrong && (error instanceof RequestError || error instanceof UsageError)) return true;
    if (error instanceof Error && error.name === "AbortError") return true;
    // Contexts and models are disposed of while others use them.
    return error instanceof TypeError && /dispos|team is closed/.test(error.message);
  }
}

async function interleave(setup: Setup, answers: readonly string[]): Promise<Outcome> {
  const { plan, processCount, batchSize, dice } = setup;
  const options = { ...PLANS[plan], processCount, device: "cpu", threads: 1 } as const;
  const copyWeights = dice.chance(0.2);
  const [model, phases] = await Promise.all([
    loadModel(TINY, { ...options, batchSize, copyWeights }),
    openPhases(TINY, options),
  ]);
  const calls = new Calls();
  const contexts: Encoded[] = [];
  const count = 6 + dice.below(12);
  const endAt = dice.chance(0.5) ? dice.below(count) : count;
  for (let i = 0; i < count; i++) {
    if (i === endAt) {
      calls.add("disposal of the model", async () => await model[Symbol.asyncDispose]());
      calls.add("disposal of the phases", async () => await phases[Symbol.asyncDispose]());
    }
    if (dice.chance(0.6)) callModel(model, { dice, calls, answers });
    else callPhases(phases, { dice, calls, contexts, model });
    await pause(dice.below(40));
  }
  calls.add("disposal of the model", async () => await model[Symbol.asyncDispose]());
  calls.add("disposal of the phases", async () => await phases[Symbol.asyncDispose]());
  await calls.end();
  const { faults, right, refused } = calls;
  return { how: "well", faults, counts: { calls_right: right, calls_refused: refused } };
}

function callModel(
  model: Model,
  run: { dice: Dice; calls: Calls; answers: readonly string[] },
): void {
  const { dice, calls, answers } = run;
  const at = dice.below(PROMPTS.length);
  const [prompt, answer] = [PROMPTS[at], answers[at]];
  if (prompt === undefined) return;
  const signal = dice.chance(0.3) ? AbortSignal.timeout(dice.below(60)) : undefined;
  const aborted = signal === undefined ? undefined : abortOf(signal);
  switch (dice.below(7)) {
    case 0:
      return calls.add("score()", async () => {
        const { logprob } = await model.score(prompt.context, prompt.query, { signal: aborted });
        if (!(logprob < 0)) calls.fault("different", `a log-probability of ${logprob}`);
      });
    case 1: {
      const wrong = dice.pick([
        { ...prompt, query: "" },
        { ...prompt, context: Int32Array.of(-1) },
        { ...prompt, query: Int32Array.of(2 ** 31 - 1) },
        { ...prompt, context: "word ".repeat(100_000) },
      ]);
      return calls.add("a wrong prompt", async () => await model.generate(wrong), {
        isWrong: true,
      });
    }
    case 2: {
      const options = dice.pick([
        { tokensToGenerate: 0 },
        { tokensToGenerate: 1.5 },
        { topLogits: -1 },
        { stopWords: [7] },
        { nothing: 1 },
      ]) as Record<string, number>;
      return calls.add("a wrong option", async () => await model.generate(prompt, options), {
        isWrong: true,
      });
    }
    default:
      return calls.add("generate()", async () => {
        const options = { tokensToGenerate: TOKENS, signal: aborted };
        const { ids } = await model.generate(prompt, options);
        if (ids.join() !== answer) {
          calls.fault("different", `${prompt.sample}: ${ids.join()} in place of ${answer}`);
        }
      });
  }
}

/** As a time-out, with the reason of a call that is not wanted any more. */
function abortOf(signal: AbortSignal): AbortSignal {
  const controller = new AbortController();
  signal.addEventListener("abort", () => controller.abort(), { once: true });
  return controller.signal;
}

function callPhases(
  phases: Phases,
  run: { dice: Dice; calls: Calls; contexts: Encoded[]; model: Model },
): void {
  const { dice, calls, contexts } = run;
  const ids = Int32Array.from({ length: 40 + dice.below(400) }, (_, i) => 5 + (i * 7) % 200);
  const query = { queryIds: ids.subarray(0, 4), tokensToGenerate: 3, stopIds: [], topLogits: 0 };
  const context = dice.pick(contexts);
  switch (dice.below(5)) {
    case 0:
      context?.[Symbol.dispose]();
      return;
    case 1:
      return calls.add("a wrong context", async () => {
        await phases.encode(Int32Array.of(-5), { room: 4 });
      }, { isWrong: true });
    case 2:
      if (context === undefined) return;
      return calls.add("answer()", async () => {
        const { ids } = await phases.answer(context, query);
        if (ids.length !== 3) calls.fault("different", `${ids.length} ids in place of 3`);
      });
    default:
      return calls.add("encode()", async () => {
        contexts.push(await phases.encode(ids, { room: 16 }));
      });
  }
}
