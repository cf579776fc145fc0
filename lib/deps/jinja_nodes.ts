/**
 * Nodes of a parsed template of Hugging Face's package for chat templates, and how they are made.
 *
 * @module
 */

/** A node of a parsed template; the package asks for nothing but the type and the type's own keys. */
export type Node = Readonly<Record<string, unknown>> & { readonly type: string };

/** Whether a value is a node. */
export function isNode(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "type" in value &&
    typeof value.type === "string";
}

/** Whether an operand is there, as an expression. */
export function isDefined(operand: unknown): Node {
  return { type: "TestExpression", operand, negate: false, test: identifier("defined") };
}

/** The opposite of a condition. */
export function not(argument: Node): Node {
  return {
    type: "UnaryExpression",
    operator: { type: "UnaryOperator", value: "not" },
    argument,
  };
}

/** A list of one, which keeps the kind of its item: a function sees whole numbers and others alike. */
export function list(item: unknown): Node {
  return { type: "ArrayLiteral", value: [item] };
}

/** A name. */
export function identifier(value: string): Node {
  return { type: "Identifier", value };
}

/** A text. */
export function text(value: unknown): Node {
  return { type: "StringLiteral", value };
}

/** A statement that sets a name. */
export function assignment(name: string, value: Node): Node {
  return { type: "Set", assignee: identifier(name), value, body: [] };
}

/** A call of a function by its name. */
export function call(name: string, args: readonly unknown[]): Node {
  return { type: "CallExpression", callee: identifier(name), args };
}
