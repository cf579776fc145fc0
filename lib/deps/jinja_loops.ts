/**
 * Loops that go on, or end, early: at `continue` and `break` Hugging Face's package for chat templates
 * loses what the iteration has written so far. Rewritten, both only set a variable: what stands behind
 * them is left out where it is set, and a loop that is to end does so at the next iteration's start.
 *
 * @module
 */
import { assignment, identifier, isNode, type Node, not } from "./jinja_nodes.ts";

/** The variables of a loop, under names that no template can have. */
interface Marks {
  /** Whether the rest of the iteration is left out. */
  readonly skips: string;
  /** Whether no iteration follows. */
  readonly ends: string;
}

/** A loop's body that loses nothing, and what is to be set before the loop. */
export interface EarlyEnds {
  readonly before: readonly Node[];
  readonly body: readonly unknown[];
}

/**
 * Rewrites a loop's body.
 *
 * @param body Its statements, those of inner loops rewritten already.
 * @param number Tells the loop's variables from those of other loops.
 */
export function withEarlyEnds(body: readonly unknown[], number: number): EarlyEnds {
  if (!body.some(endsEarly)) return { before: [], body };
  const marks = { skips: `starx skips ${number}`, ends: `starx ends ${number}` };
  const leave: Node = { type: "If", test: identifier(marks.ends), body: [BREAK], alternate: [] };
  return {
    before: [set(marks.ends, false)],
    body: [leave, set(marks.skips, false), ...guarded(body, marks)],
  };
}

const BREAK: Node = { type: "Break" };

/** Statements of which those behind an early end are left out. */
function guarded(statements: readonly unknown[], marks: Marks): unknown[] {
  const at = statements.findIndex(endsEarly);
  const statement = statements[at];
  if (!isNode(statement)) return [...statements];
  const front = statements.slice(0, at);
  if (statement.type === "Continue") return [...front, set(marks.skips, true)];
  if (statement.type === "Break") {
    return [...front, set(marks.skips, true), set(marks.ends, true)];
  }
  const branches = {
    body: guarded(statementsOf(statement.body), marks),
    alternate: guarded(statementsOf(statement.alternate), marks),
  };
  const rest = guarded(statements.slice(at + 1), marks);
  const guard = { type: "If", test: not(identifier(marks.skips)), body: rest, alternate: [] };
  return [...front, { ...statement, ...branches }, ...(rest.length === 0 ? [] : [guard])];
}

/** Whether a statement may end the iteration that it belongs to. */
function endsEarly(statement: unknown): boolean {
  if (!isNode(statement)) return false;
  if (statement.type === "Break" || statement.type === "Continue") return true;
  return statement.type === "If" &&
    [statement.body, statement.alternate].some((part) => statementsOf(part).some(endsEarly));
}

function statementsOf(part: unknown): readonly unknown[] {
  return Array.isArray(part) ? part : [];
}

function set(name: string, value: boolean): Node {
  // The package has no literals for them, but names.
  return assignment(name, identifier(value ? "true" : "false"));
}
