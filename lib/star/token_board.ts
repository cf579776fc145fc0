/**
 * Where the tokens that a step chooses are put, and how all ranks learn them.
 *
 * @module
 */
import type { PendingBytes } from "../device/device.ts";
import { sendTensor } from "../device/send.ts";
import type { Stage } from "../device/stages.ts";
import { Tensor } from "../device/tensor.ts";
import { invariant } from "../errors.ts";
import type { Transformer } from "../model/forward.ts";
import { argmax } from "../ops/sample.ts";
import type { Collective } from "../parallel/collective.ts";
import { exchangeOn } from "../parallel/device_exchange.ts";

/** Rows of a batch whose tokens one rank chooses. */
export interface RowGroup {
  readonly rank: number;
  readonly first: number;
  readonly count: number;
}

/** The rows of each query rank, which lie side by side. */
export function rowGroups(rows: readonly { readonly queryRank: number }[]): RowGroup[] {
  const groups: RowGroup[] = [];
  for (const [row, { queryRank: rank }] of rows.entries()) {
    const last = groups.at(-1);
    if (last?.rank === rank) groups[groups.length - 1] = { ...last, count: last.count + 1 };
    else groups.push({ rank, first: row, count: 1 });
  }
  return groups;
}

/** The chosen tokens of a batch. */
export class TokenBoard implements Disposable {
  readonly #stages: readonly Stage[];
  readonly #collective: Collective;
  readonly #transformer: Transformer;
  /** [maxRows] i32 on the device of the logits; absent where they are chosen right into place. */
  readonly #own: Tensor | undefined;
  readonly #maxRows: number;

  constructor(
    stages: readonly Stage[],
    options: {
      collective: Collective;
      transformer: Transformer;
      maxRows: number;
      canRecord: boolean;
    },
  ) {
    const last = stages.at(-1);
    invariant(last !== undefined, "a model has a stage");
    this.#stages = stages;
    this.#collective = options.collective;
    this.#transformer = options.transformer;
    this.#maxRows = options.maxRows;
    const shape = [options.maxRows];
    // A recorded step on one device finds the tokens where the step before has put them.
    this.#own = options.canRecord && stages.length === 1
      ? undefined
      : Tensor.allocate(last.device, { dtype: "i32", shape, label: "chosen tokens" });
  }

  /** Puts tokens that the host knows where the next step begins. */
  async place(ids: Int32Array): Promise<void> {
    await this.#transformer.tokenIds(ids.length).writeFrom(ids);
  }

  /** Chooses the most likely token of each row of logits; `first` is the row of the first. */
  async choose(logits: Tensor, options: { first: number }): Promise<void> {
    const [count = 0] = logits.shape;
    const out = this.#rows(options.first, count);
    await argmax(logits.device, { out, logits });
  }

  /** On the device: all ranks get the tokens that others have chosen. */
  async shareOnDevice(groups: readonly RowGroup[]): Promise<void> {
    if (this.#collective.size === 1) return;
    for (const { rank: root, first, count } of groups) {
      const tokens = this.#rows(first, count);
      await exchangeOn(this.#collective, tokens.device).broadcastRegion(tokens, { root });
    }
  }

  /** By way of the host: all ranks learn the tokens. */
  async tell(groups: readonly RowGroup[]): Promise<Int32Array> {
    const count = groups.reduce((sum, group) => sum + group.count, 0);
    const bytes = new Uint8Array(await this.#rows(0, count).toBytes());
    for (const { rank: root, first, count } of groups) {
      await this.#collective.broadcast(bytes.subarray(4 * first, 4 * (first + count)), { root });
    }
    const view = new DataView(bytes.buffer);
    return Int32Array.from({ length: count }, (_, row) => view.getInt32(4 * row, true));
  }

  /** Brings the chosen tokens to where the next step begins, and fetches them from there. */
  pass(count: number): PendingBytes {
    const [first] = this.#stages;
    const recorder = first?.device.recorder;
    invariant(recorder !== undefined, "a recorded step has a place");
    const to = this.#transformer.tokenIds(count);
    if (this.#own !== undefined) sendTensor({ from: this.#own.rows(0, count), to });
    return recorder.fetch(to);
  }

  #rows(first: number, count: number): Tensor {
    const all = this.#own ?? this.#transformer.tokenIds(this.#maxRows);
    return all.rows(first, count);
  }

  /** Frees the place; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#own?.[Symbol.dispose]();
  }
}
