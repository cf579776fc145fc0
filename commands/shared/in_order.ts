/**
 * Runs many things at once and takes their results in the order in which they were begun.
 *
 * @module
 */

/** How to run. */
export interface InOrderOptions<Item, Result> {
  /** How many run at once; asked anew before each, as it may not be known before the first. */
  readonly width: () => number;
  /** Runs one; it must end soon after the signal is aborted. */
  readonly run: (item: Item, options: { signal: AbortSignal }) => Promise<Result>;
  /** Takes a result when those of all items before it are taken. */
  readonly take: (item: Item, result: Result) => Promise<void>;
}

/** Results that wait for an earlier one, at most, for each that runs. */
const WAITING = 3;

/** An item under way. */
interface Flight<Item> {
  readonly item: Item;
  /** Takes the result. */
  readonly take: () => Promise<void>;
  /** Settles when it is known how it ended; never rejects. */
  readonly ended: Promise<void>;
  isEnded: boolean;
}

/**
 * Runs all items of a source. When one fails, or the source itself, those before it are still taken;
 * then the others are ended and the error is thrown.
 *
 * @throws What the source, `run` or `take` throws first, in the order of the items.
 */
export async function runInOrder<Item, Result>(
  items: AsyncIterable<Item>,
  options: InOrderOptions<Item, Result>,
): Promise<void> {
  const ending = new AbortController();
  const flights: Flight<Item>[] = [];
  let isFailing = false;
  const begin = (item: Item): void => {
    const result = options.run(item, { signal: ending.signal });
    const flight: Flight<Item> = {
      item,
      take: async () => await options.take(item, await result),
      ended: result.then(() => {}, () => {
        isFailing = true;
      }).finally(() => {
        flight.isEnded = true;
      }),
      isEnded: false,
    };
    flights.push(flight);
  };
  const takeFirst = async (): Promise<void> => {
    await flights[0]?.take();
    flights.shift();
  };
  const takeAll = async (): Promise<void> => {
    while (flights.length > 0) await takeFirst();
  };
  /** Returns when one more may begin. */
  const makePlace = async (): Promise<void> => {
    for (;;) {
      while (flights[0]?.isEnded === true) await takeFirst();
      const running = flights.filter(({ isEnded }) => !isEnded);
      const width = options.width();
      if (isFailing || flights.length > width * WAITING) await takeFirst();
      else if (running.length >= width) await Promise.race(running.map(({ ended }) => ended));
      else return;
    }
  };
  const source = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      await makePlace();
      const next = await source.next().catch(async (error) => {
        await takeAll();
        throw error;
      });
      if (next.done === true) break;
      begin(next.value);
    }
    await takeAll();
  } finally {
    await source.return?.();
    ending.abort();
    await Promise.all(flights.map(({ ended }) => ended));
  }
}
