import { runInOrder } from "../../commands/shared/in_order.ts";
import { assert, assertEquals, assertRejects } from "../helpers/assert.ts";
import { Random } from "../helpers/random.ts";

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; i++) {
    await Promise.resolve();
    yield i;
  }
}

/** Lets others go on some times. */
async function pause(turns: number): Promise<void> {
  for (let i = 0; i < turns; i++) await Promise.resolve();
}

Deno.test("runInOrder() takes results in order, and runs no more at once than it may (seed 5)", async () => {
  const random = new Random(5);
  for (const width of [1, 2, 7]) {
    const taken: number[] = [];
    let [running, most] = [0, 0];
    await runInOrder(numbers(40), {
      width: () => width,
      run: async (item) => {
        most = Math.max(most, ++running);
        await pause(random.below(300));
        running--;
        return item * 2;
      },
      take: (item, result) => {
        assertEquals(result, item * 2);
        taken.push(item);
        return Promise.resolve();
      },
    });
    assertEquals(taken, Array.from({ length: 40 }, (_, i) => i));
    assertEquals([most, running], [width, 0]);
  }
});

Deno.test("runInOrder() keeps places busy while a slow one is waited for", async () => {
  const slow = Promise.withResolvers<void>();
  const begun: number[] = [];
  const run = runInOrder(numbers(6), {
    width: () => 2,
    run: async (item) => {
      begun.push(item);
      if (item === 0) await slow.promise;
    },
    take: () => Promise.resolve(),
  });
  await pause(200);
  // Of those behind the first, as many have run as may wait for it.
  assertEquals(begun, [0, 1, 2, 3, 4, 5]);
  slow.resolve();
  await run;
});

Deno.test("runInOrder() takes what came before a failure, ends the others, and throws it", async () => {
  const taken: number[] = [];
  const ended: number[] = [];
  const run = runInOrder(numbers(100), {
    width: () => 4,
    run: async (item, { signal }) => {
      if (item === 5) throw new RangeError("item 5");
      if (item < 5) return await pause(10 * (5 - item));
      const { promise, resolve } = Promise.withResolvers<void>();
      signal.addEventListener("abort", () => resolve());
      await promise;
      ended.push(item);
    },
    take: (item) => {
      taken.push(item);
      return Promise.resolve();
    },
  });
  await assertRejects(() => run, RangeError, "item 5");
  assertEquals(taken, [0, 1, 2, 3, 4]);
  assert(ended.every((item) => item > 5));
});

Deno.test("runInOrder() throws what the source or the taker throws", async () => {
  async function* broken(): AsyncGenerator<number> {
    yield* numbers(3);
    throw new TypeError("source");
  }
  const options = { width: () => 2, run: (item: number) => Promise.resolve(item) };
  const take = () => Promise.resolve();
  await assertRejects(() => runInOrder(broken(), { ...options, take }), TypeError, "source");
  const refuse = () => Promise.reject(new TypeError("taker"));
  await assertRejects(
    () => runInOrder(numbers(9), { ...options, take: refuse }),
    TypeError,
    "taker",
  );
});
