/**
 * Recorded steps, one for each kind of batch, kept over samples.
 *
 * @module
 */
import type { OpRecorder, RecordedOps } from "../device/device.ts";
import type { Stage } from "../device/stages.ts";
import type { Collective, DeviceExchange } from "../parallel/collective.ts";
import { exchangeOn } from "../parallel/device_exchange.ts";
import { isOn } from "./switches.ts";

/** Recordings that are kept at most: the oldest one makes room. */
const KEPT = 64;

/** How a step runs, stage by stage. */
export interface StageRun {
  /** Hands on what the stage before has left. */
  readonly enter: (stage: number) => void;
  /** Starts the ops of a stage. */
  readonly start: (stage: number) => Promise<void>;
}

/** The recorded ops of steps. */
export class StepRecords implements Disposable {
  /** One per stage, where a step can be recorded. */
  readonly #recorders: readonly OpRecorder[] | undefined;
  /** One per stage, where there are several ranks. */
  readonly #exchanges: readonly DeviceExchange[];
  readonly #kept = new Map<string, readonly RecordedOps[]>();

  constructor(stages: readonly Stage[], options: { collective: Collective }) {
    const { collective } = options;
    // Ranks without keys learn the tokens, too.
    const isShared = collective.size > 1;
    this.#exchanges = isShared ? stages.map(({ device }) => exchangeOn(collective, device)) : [];
    // An exchange by way of the host cannot be recorded.
    const canRecord = !isShared ||
      this.#exchanges.every((exchange) => exchange.canBeRecorded) && isOn("STARX_RECORD_EXCHANGES");
    const recorders = stages.flatMap(({ device }) => device.recorder ?? []);
    this.#recorders = canRecord && recorders.length === stages.length ? recorders : undefined;
  }

  /** Whether steps can be recorded. */
  get canRecord(): boolean {
    return this.#recorders !== undefined;
  }

  /** Whether recorded ops run while the host goes on. */
  get runsAhead(): boolean {
    return this.#recorders?.every(({ runsAhead }) => runsAhead) ?? false;
  }

  /**
   * Runs a step, and records it the first time.
   *
   * @param key Names all that the ops hold besides the content of device memory.
   */
  async run(key: string, step: StageRun): Promise<void> {
    const known = this.#kept.get(key);
    using owned = new DisposableStack();
    const made: RecordedOps[] = [];
    // A recording holds the ops of one device; what is copied from one to the next lies between.
    for (const [stage, recorder] of (this.#recorders ?? []).entries()) {
      step.enter(stage);
      const recorded = known?.[stage];
      if (recorded !== undefined) {
        await recorded.run();
        this.#exchanges[stage]?.watchRecorded();
        continue;
      }
      const start = () => step.start(stage);
      // The first one runs as it is, so that libraries set up what they need outside of a record.
      await start();
      made.push(owned.use(await recorder.record(start)));
    }
    if (known !== undefined) return;
    owned.move();
    this.#kept.set(key, made);
    const [oldest] = this.#kept;
    if (this.#kept.size > KEPT && oldest !== undefined) this.#drop(oldest[0]);
  }

  /** Watches the exchanges of recorded steps that are under way. */
  watch(): void {
    for (const exchange of this.#exchanges) exchange.watchRecorded();
  }

  #drop(key: string): void {
    for (const recorded of this.#kept.get(key) ?? []) recorded[Symbol.dispose]();
    this.#kept.delete(key);
  }

  /** Frees the recordings; a second call does nothing. */
  [Symbol.dispose](): void {
    for (const key of [...this.#kept.keys()]) this.#drop(key);
  }
}
