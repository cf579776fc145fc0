/**
 * Help texts, written from the flag tables.
 *
 * @module
 */
import type { Flag, FlagTable } from "./flags.ts";

/** What is said about a subcommand. */
export interface CommandHelp {
  readonly name: string;
  /** How it is called (default: as a subcommand of cli.ts). */
  readonly call?: string;
  /** One line. */
  readonly summary: string;
  readonly flags: FlagTable;
  /** Paragraphs below the flags. */
  readonly notes?: readonly string[];
  /** Set if absent flags take demonstration values while this one is absent. */
  readonly demoUnless?: string;
}

const WIDTH = 100;
const LEFT = 34;

const SHORT_NAMES =
  "A long name may be cut short while it stands for one flag; of a flag that is " +
  "repeated, the last one counts.";

const EXIT_TABLE = `Exit codes:
    0  done
    1  a bug in this program
    2  a flag, or a combination of flags, that cannot be used
    3  a model, data or result file that is missing, damaged or not writable
    4  the kernel library or the device cannot be used
    5  a worker process was lost
  130  interrupted
`;

/** The help of one subcommand. */
export function commandHelp(help: CommandHelp): string {
  const { name, call = `cli.ts ${name}`, summary, flags, notes = [], demoUnless } = help;
  const rows = Object.entries(flags).map(([key, flag]) => flagRow(key, flag, { demoUnless }));
  const below = notes.map((note) => `${wrap(note, { indent: 0 })}\n\n`).join("");
  return `starx ${name}: ${summary}\n\nUsage: ${call} [flags]\n\nFlags:\n${rows.join("")}` +
    `  -h, --help${" ".repeat(LEFT - 12)}this text\n${detachRow(call)}\n` +
    `${wrap(SHORT_NAMES, { indent: 0 })}\n\n${below}${EXIT_TABLE}`;
}

/** Only cli.ts ends with the process that started it. */
function detachRow(call: string): string {
  if (!call.startsWith("cli.ts")) return "";
  const text =
    "goes on when the deno task or npx that started it is killed, as it does under nohup " +
    "or a launcher";
  return `${"      --detach".padEnd(LEFT)}${wrap(text, { indent: LEFT }).trimStart()}\n`;
}

/** The help of the program. */
export function programHelp(commands: readonly CommandHelp[], version: string): string {
  const lines = commands.map(({ name, summary }) => `  ${name.padEnd(10)}  ${summary}\n`).join("");
  return `starx ${version}: language models over long contexts, with Star Attention and antidiagonal ` +
    `block selection\n\nUsage: cli.ts COMMAND [flags]\n\nCommands:\n${lines}\n` +
    `cli.ts COMMAND --help lists a command's flags.\n\n${EXIT_TABLE}`;
}

function flagRow(
  key: string,
  flag: Flag<unknown>,
  options: { demoUnless: string | undefined },
): string {
  const names = `${flag.short === "" ? "    " : `${flag.short}, `}--${key}`;
  const left = `  ${names}${flag.value === "" ? "" : ` ${flag.value}`}`;
  const facts: string[] = [];
  if (flag.isRequired) facts.push("required");
  if (flag.fallback !== undefined && flag.value !== "") {
    facts.push(`default: ${showValue(flag.fallback)}`);
  }
  if (options.demoUnless !== undefined && flag.demo !== undefined) {
    facts.push(`bare command: ${showValue(flag.demo)}`);
  }
  const text = facts.length === 0 ? flag.help : `${flag.help} (${facts.join("; ")})`;
  const right = wrap(text, { indent: LEFT });
  return left.length < LEFT - 1
    ? `${left.padEnd(LEFT)}${right.trimStart()}\n`
    : `${left}\n${right}\n`;
}

function showValue(value: unknown): string {
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.join(" ");
  return String(value);
}

function wrap(text: string, options: { indent: number }): string {
  const margin = " ".repeat(options.indent);
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && options.indent + line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = "";
    }
    line = line === "" ? word : `${line} ${word}`;
  }
  return [...lines, line].map((text) => margin + text).join("\n");
}
