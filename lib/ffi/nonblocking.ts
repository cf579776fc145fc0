/**
 * The nonblocking form of every op, made from the one table.
 *
 * A blocking call costs some nanoseconds and stops the event loop; a nonblocking one runs on a
 * thread of Deno's pool and costs 10 to 14 us.
 *
 * @module
 */
import { OP_SYMBOLS, type OpName, SETUP_SYMBOLS } from "./symbols.ts";

type OpTable = typeof OP_SYMBOLS;

/** The same functions under another key, run on a thread of Deno's pool. */
type NonblockingTable = {
  readonly [K in OpName as `${K}_nonblocking`]: {
    readonly name: K;
    readonly parameters: OpTable[K]["parameters"];
    readonly result: OpTable[K]["result"];
    readonly nonblocking: true;
  };
};

function makeNonblockingTable(): NonblockingTable {
  const entries = Object.entries(OP_SYMBOLS).map(([name, declaration]) => [
    `${name}_nonblocking`,
    { ...declaration, name, nonblocking: true },
  ]);
  return Object.fromEntries(entries) as NonblockingTable;
}

/** The whole table: setup, ops, and each op's nonblocking form as `<name>_nonblocking`. */
export const KERNEL_SYMBOLS: typeof SETUP_SYMBOLS & OpTable & NonblockingTable = {
  ...SETUP_SYMBOLS,
  ...OP_SYMBOLS,
  ...makeNonblockingTable(),
};
