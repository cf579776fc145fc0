/**
 * The machines that `docs/scaling.md` compares with the model: where their records are, and which run
 * is which.
 *
 * @module
 */
import type { Where } from "../performance/records.ts";
import type { RateSource } from "./rates.ts";

/** The runs of a session by what they are, each of some GPUs; undefined where the session had none. */
export interface Runs {
  /** 131,072 tokens in blocks of 16,384, the anchor sent, and a token after them. */
  readonly star: (gpus: number) => Where;
  readonly everywhere: (gpus: number) => Where;
  /** A token after 8,192 tokens in blocks of 1,024. */
  readonly decode: (gpus: number) => Where;
  /** Dense on one GPU: 131,072 tokens. */
  readonly dense: Where;
  readonly ring: (gpus: number) => Where;
  /** One process, its layers on several GPUs. */
  readonly layers: (gpus: number, mode: "dense" | "star") => Where;
  /** Star on 524,288 tokens in blocks of 131,072, and on 1,048,576 in blocks of 65,536. */
  readonly long?: (gpus: number) => Where;
  readonly million?: (gpus: number) => Where;
  readonly denseLong?: Where;
  readonly ringLong?: (gpus: number) => Where;
  readonly replicas?: (gpus: number) => Where;
  /** On two GPUs what each of eight has of 1,048,576 tokens: two blocks of 65,536; by lanes. */
  readonly twoBlocks?: { readonly many: Where; readonly two: Where };
}

/** Machines with GPUs of one kind. */
export interface Machines {
  /** Files of `bench/` without their endings, and the GPUs of each machine, fewest first. */
  readonly files: readonly (readonly [file: string, gpus: number])[];
  readonly counts: readonly number[];
  readonly runs: Runs;
  readonly rates: RateSource;
  /** How the ring cut a context then. */
  readonly ringParts: "contiguous" | "zigZag";
}

const part = (name: string, mode?: string): Where =>
  mode === undefined ? { part: name } : { part: name, mode };

/** `scripts/hosts_session.sh` on two, four and eight H200s. */
export const H200: Machines = {
  files: [["h200x2-hosts", 2], ["h200x4-hosts", 4], ["h200x8-hosts", 8]],
  counts: [1, 2, 4, 8],
  runs: {
    star: (gpus) => part(`star, ${gpus}`),
    everywhere: (gpus) => part(`star, anchor everywhere, ${gpus}`),
    decode: (gpus) => part(`decode, ${gpus}`),
    dense: part("dense, 1"),
    ring: (gpus) => part(`ring, ${gpus}`),
    layers: (gpus, mode) => part(`layers, ${gpus}`, mode),
    long: (gpus) => part(`star long, ${gpus}`),
    million: (gpus) => part(`star million, ${gpus}`),
    denseLong: part("dense long, 1"),
    ringLong: (gpus) => part(`ring long, ${gpus}`),
    replicas: (gpus) => part(`replicas, ${gpus}`),
    twoBlocks: {
      many: part("star two blocks, 2"),
      two: part("star two blocks, two lanes, 2"),
    },
  },
  rates: {
    file: "h200x2-hosts",
    star: part("star, 1"),
    decode: part("decode, 1"),
    exchange: (ranks) => part(`exchange, ${ranks}`),
  },
  ringParts: "zigZag",
};

/** Two H100s, by the session of commit `beebb23`. */
export const H100: Machines = {
  files: [["h100x2-hosts", 2]],
  counts: [1, 2],
  runs: {
    star: (gpus) => part(`star, ${gpus}`),
    everywhere: (gpus) => part(`star, anchor everywhere, ${gpus}`),
    decode: (gpus) => part(`decode 8k, ${gpus}`),
    dense: part("layers on 1 GPUs", "dense"),
    ring: (gpus) => part(`ring, ${gpus}`),
    layers: (gpus, mode) => part(`layers on ${gpus} GPUs`, mode),
  },
  rates: { file: "h100x2-hosts", star: part("star, 1"), decode: part("decode 8k, 1") },
  ringParts: "contiguous",
};
