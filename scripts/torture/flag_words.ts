/**
 * Command lines that somebody may have mistyped.
 *
 * @module
 */
import { COMMANDS } from "../../commands/all.ts";
import type { Dice } from "./dice.ts";
import { EXPERIMENT, INFER, RULER } from "./material.ts";

/** Command lines that run. */
const LINES: readonly (readonly string[])[] = [
  INFER,
  RULER,
  [...RULER.map((word) => word === "dense" ? "star" : word), "-bs", "128", "-np", "1"],
  [
    ...["prepare", "--save_dir", "made", "--task", "fwe", "--tokenizer_path", "model"],
    ...["--max_seq_length", "1500", "--num_samples", "1"],
  ],
  ["evaluate", "--data_dir", `${EXPERIMENT}/1500`, "--metric", "string_match_all"],
  ["gather", "-e", "x_dense", "--format", "csv"],
  ["report", "x_dense", "-o", "report.html"],
  ["doctor", "-p", "model"],
  ["infer", "--help"],
  ["babilong", "-n", "x", "-p", "model", "-pc", "base", "-l", "0", "-a", "dense", "-t", "qa1"],
];

/** What does not belong there. */
const WORDS: readonly string[] = [
  ..." - -- --- = --= -= 0 -1 1 2 3 1.5 1e3 1e400 -0 007 0x10 NaN Infinity 1k -5k 99999999999999999999"
    .split(" "),
  ..."--constructor --__proto__ --toString --hasOwnProperty= --help -h -x --threads=0 --threads=1024"
    .split(" "),
  ..."../x . .. model in.jsonl out.jsonl /dev/null /proc/self/mem tasks.yaml results".split(" "),
  ...[
    "",
    " ",
    "\n",
    "\0",
    "\u{1f600}",
    "a b",
    "\u202e",
    "x".repeat(5000),
    "'",
    '"',
    "{}",
    "[]",
    "null",
  ],
  ..."--threshold=1e-300 --stride=3 -b=0 -b=auto --merge=x --dtype=f32 --dtype=int4".split(" "),
  ...["--rope_scaling={}", '--rope_scaling={"rope_type":"yarn","factor":1e308}', "--timeout=0"],
  ..."--timeout=1e300 --start_timeout=-1 --replicas=0 --copy_weights --overwrite --cwe_freq".split(
    " ",
  ),
];

/** Sizes of work that is meant: it would only take long. */
const WORK: Readonly<Record<string, readonly [low: number, high: number]>> = {
  "--nproc_per_node": [4, 1024],
  "-np": [4, 1024],
  "--replicas": [3, 1024],
  "--num_samples_per_task": [9, Infinity],
  "--num_samples": [9, Infinity],
  "--max_seq_length": [4000, 2 ** 24],
  "--tokens_to_generate": [64, Infinity],
  "--num_nodes": [2, Infinity],
  "-nn": [2, Infinity],
};

/** A command line with up to three faults. */
export function damageArgs(dice: Dice): string[] {
  for (;;) {
    const [command = "", ...rest] = dice.pick(LINES);
    let words = [...rest];
    const count = 1 + dice.below(3);
    for (let i = 0; i < count; i++) words = damage(dice, command, words);
    // Once in a while the command itself.
    const first = dice.chance(0.03) ? dice.pick(WORDS) : command;
    const args = [first, ...words];
    if (isModest(args)) return args;
  }
}

function damage(dice: Dice, command: string, words: readonly string[]): string[] {
  const at = dice.below(words.length + 1);
  const [before, after] = [words.slice(0, at), words.slice(at)];
  switch (dice.below(7)) {
    case 0:
      return [...before, ...after.slice(1)];
    case 1:
      return [...before, ...words.slice(at, at + 1), ...after];
    case 2:
      return [...before, dice.pick(WORDS), ...after.slice(1)];
    case 3:
      return [...before, dice.pick(WORDS), ...after];
    case 4:
      return [...after, ...before];
    case 5:
      return [...before, `--${dice.pick(flagsOf(command))}`, ...after];
    default:
      return [...before, `--${dice.pick(flagsOf(command))}=${dice.pick(WORDS)}`, ...after];
  }
}

function flagsOf(command: string): string[] {
  const found = COMMANDS.find(({ help }) => help.name === command);
  return found === undefined ? ["help"] : Object.keys(found.help.flags);
}

function isModest(args: readonly string[]): boolean {
  const words = args.flatMap((word) => {
    const [, flag, value] = /^(--?\w+)=(.*)$/s.exec(word) ?? [];
    return flag === undefined || value === undefined ? [word] : [flag, value];
  });
  return words.every((word, i) => {
    const [low, high] = Object.hasOwn(WORK, word) ? WORK[word] ?? [0, 0] : [0, -1];
    const value = Number((words[i + 1] ?? "").replace(/k$/i, "000"));
    return !(value >= low && value <= high);
  });
}
