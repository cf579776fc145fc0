/**
 * What Hugging Face's package for chat templates does otherwise than Jinja in Python, for which the
 * templates are written, rewritten in a parsed template so that it does as Python:
 *
 *  - `strip()`, `lstrip()` and `rstrip()` ignore their argument and remove all white space;
 *  - `capitalize()` leaves capitals behind the first letter;
 *  - `selectattr()` and `rejectattr()` find no item's attribute "undefined";
 *  - `==` and `!=` compare lists by identity, texts with numbers as JavaScript does, and take what is
 *    missing for `none`;
 *  - the remainder of a negative number is negative;
 *  - what is set in a loop lives on in its next iteration;
 *  - `continue` and `break` take back what their iteration has written (`jinja_loops.ts`);
 *  - `join()` does not know `attribute`;
 *  - `in` compares as `==` does, and knows neither none nor lists in lists;
 *  - true, false, none, lists and objects are written as JSON, or not at all;
 *  - loops over, and filters of, what is missing end with errors, and so do loops over texts;
 *  - `strftime_now()` knows few formats.
 *
 * @module
 */
import { withEarlyEnds } from "./jinja_loops.ts";
import {
  assignment,
  call,
  identifier,
  isDefined,
  isNode,
  list,
  type Node,
  not,
  text,
} from "./jinja_nodes.ts";

/** Functions under names that no template can have. */
const EQUALS = "starx equals";
const STRIP = "starx strip";
const CAPITALIZE = "starx capitalize";
const CONTAINS = "starx contains";
const WRITE = "starx write";
/** In place of the package's own, which knows few formats and no day but today. */
export const NOW = "starx now";
const CHARACTERS = "starx characters";

/** Nodes that are written where they stand in a body; a text is what it is. */
const WRITTEN = new Set([
  ...["MemberExpression", "CallExpression", "Identifier", "ArrayLiteral", "TupleLiteral"],
  ...["ObjectLiteral", "BinaryExpression", "FilterExpression", "SelectExpression"],
  ...["TestExpression", "UnaryExpression", "Ternary", "IntegerLiteral", "FloatLiteral"],
]);

/** What a rewritten template calls: to be given to it as variables. */
export const PYTHON_FUNCTIONS: Readonly<Record<string, unknown>> = {
  [EQUALS]: (left: unknown, right: unknown, hasLeft: boolean, hasRight: boolean) =>
    hasLeft === hasRight && areEqual(left, right),
  [STRIP]: stripped,
  [CAPITALIZE]: capitalized,
  [CONTAINS]: contains,
  [CHARACTERS]: (text: string) => [...text],
  [WRITE]: (...items: readonly unknown[][]) => items.map(([item]) => written(item)).join(""),
};

/** Rewrites a parsed template. */
export function asPython(program: unknown): unknown {
  return new Rewriter().value(program);
}

class Rewriter {
  #loops = 0;

  value(value: unknown): unknown {
    if (Array.isArray(value)) return value.flatMap((item) => this.#item(item));
    if (value instanceof Map) {
      return new Map([...value].map(([key, item]) => [this.value(key), this.value(item)]));
    }
    return isNode(value) ? this.#node(value) : value;
  }

  /** A loop becomes several statements, which only a list has room for. */
  #item(item: unknown): unknown[] {
    if (!isNode(item) || item.type !== "For") return [this.value(item)];
    const names = [...new Set(assignedIn(item.body))].filter((name) => !namesOf(item, name));
    const number = this.#loops++;
    const outer = (name: string) => `starx outer ${number} ${name}`;
    const node = withItems(this.#children(item));
    const { before, body } = withEarlyEnds(Array.isArray(node.body) ? node.body : [], number);
    const reset = names.map((name) => assignment(name, identifier(outer(name))));
    return [
      ...names.map((name) => assignment(outer(name), identifier(name))),
      ...before,
      { ...node, body: [...reset, ...body] },
    ];
  }

  #node(original: Node): Node {
    const node = this.#children(original);
    if (node.type === "BinaryExpression") return binary(node);
    if (node.type === "CallExpression") return method(node);
    if (node.type === "FilterExpression") return filter(withOperand(node));
    return node.type === "Identifier" && node.value === "strftime_now" ? identifier(NOW) : node;
  }

  #children(node: Node): Node {
    const entries = Object.entries(node).map(([key, value]) => {
      const changed = this.value(value);
      const isBody = BODIES.has(key) && Array.isArray(changed);
      return [key, isBody ? changed.map(asWritten) : changed];
    });
    return { ...Object.fromEntries(entries), type: node.type };
  }
}

/** Keys of nodes that hold what is written. */
const BODIES = new Set(["body", "alternate", "defaultBlock"]);

/** An expression of a body as the text that Python makes of it. */
function asWritten(node: unknown): unknown {
  return isNode(node) && WRITTEN.has(node.type) ? call(WRITE, [list(node)]) : node;
}

/** Whether a node may be missing: results of calls and filters are not. */
function mayLack(node: unknown): node is Node {
  return isNode(node) && (node.type === "Identifier" || node.type === "MemberExpression");
}

/** An expression, or another one where it is missing. */
function orElse(node: Node, otherwise: Node): Node {
  return { type: "Ternary", condition: isDefined(node), trueExpr: node, falseExpr: otherwise };
}

/** A loop over nothing where its list is missing, and over the characters of a text. */
function withItems(loop: Node): Node {
  const { iterable } = loop;
  const isSelect = isNode(iterable) && iterable.type === "SelectExpression";
  const items = isSelect ? iterable.lhs : iterable;
  if (!mayLack(items)) return loop;
  const isText = {
    type: "TestExpression",
    operand: items,
    negate: false,
    test: identifier("string"),
  };
  const found = {
    type: "Ternary",
    condition: isText,
    trueExpr: call(CHARACTERS, [items]),
    falseExpr: orElse(items, NOTHING),
  };
  return { ...loop, iterable: isSelect ? { ...iterable, lhs: found } : found };
}

const NOTHING: Node = { type: "ArrayLiteral", value: [] };

/** Filters that take what is missing for an empty text, and those that take it for an empty list. */
const OF_TEXTS = new Set(["length", "count", "trim", "upper", "lower", "title", "replace"]);
const OF_LISTS = new Set([
  ...["list", "join", "map", "select", "reject", "selectattr", "rejectattr", "sort", "unique"],
  ...["reverse", "first", "last"],
]);

/** A filter whose operand is not missing. */
function withOperand(node: Node): Node {
  const { filter, operand } = node;
  const named = isNode(filter) && filter.type === "CallExpression" ? filter.callee : filter;
  const name = isNode(named) ? String(named.value) : "";
  if (!mayLack(operand)) return node;
  if (OF_TEXTS.has(name)) return { ...node, operand: orElse(operand, text("")) };
  return OF_LISTS.has(name) ? { ...node, operand: orElse(operand, NOTHING) } : node;
}

function binary(node: Node): Node {
  const { operator, left, right } = node;
  const sign = isNode(operator) ? operator.value : undefined;
  if (sign === "~") return call(WRITE, [list(left), list(right)]);
  if (sign === "in" || sign === "not in") {
    const within = call(CONTAINS, [left, right]);
    return sign === "in" ? within : not(within);
  }
  if (sign === "==" || sign === "!=") {
    const equal = call(EQUALS, [left, right, isDefined(left), isDefined(right)]);
    return sign === "==" ? equal : not(equal);
  }
  if (sign !== "%") return node;
  // The divisor's sign, as in Python: ((a % b) + b) % b.
  const plus = { type: "AdditiveBinaryOperator", value: "+" };
  const sum = { type: "BinaryExpression", operator: plus, left: node, right };
  return { type: "BinaryExpression", operator, left: sum, right };
}

function method(node: Node): Node {
  const { callee, args } = node;
  if (!isNode(callee) || callee.type !== "MemberExpression" || callee.computed === true) {
    return node;
  }
  const name = isNode(callee.property) ? callee.property.value : undefined;
  if (name === "capitalize") return call(CAPITALIZE, [callee.object]);
  const hasArguments = Array.isArray(args) && args.length > 0;
  if (!hasArguments || !["strip", "lstrip", "rstrip"].some((known) => known === name)) return node;
  return call(STRIP, [text(name), callee.object, ...args]);
}

/** `trim` is the filter for `strip()`, `string` that for `str()`. */
function filter(node: Node): Node {
  const { filter, operand } = node;
  if (isNode(filter) && filter.type === "Identifier" && filter.value === "string") {
    return call(WRITE, [list(operand)]);
  }
  if (isNode(filter) && filter.type === "Identifier" && filter.value === "capitalize") {
    return call(CAPITALIZE, [operand]);
  }
  if (!isNode(filter) || filter.type !== "CallExpression") return node;
  const { callee, args } = filter;
  if (!isNode(callee) || !Array.isArray(args)) return node;
  if (callee.value === "trim" && args.length > 0) {
    return call(STRIP, [text("strip"), operand, ...args]);
  }
  if (callee.value === "join") return joined(node, { filter, args });
  const opposite = OPPOSITES[String(callee.value)];
  const [attribute, test] = args;
  if (opposite === undefined || !isNode(test) || test.value !== "undefined") return node;
  const turned = { ...filter, callee: identifier(opposite), args: [attribute, text("defined")] };
  return { ...node, filter: turned };
}

/** A `join()` of attributes: of a list that `map()` makes of them. */
function joined(node: Node, { filter, args }: { filter: Node; args: readonly unknown[] }): Node {
  const isAttribute = (arg: unknown) =>
    isNode(arg) && isNode(arg.key) && arg.key.value === ATTRIBUTE;
  const attributes = args.filter(isAttribute);
  if (attributes.length === 0) return node;
  const map = { ...filter, callee: identifier("map"), args: attributes };
  const others = args.filter((arg) => !isAttribute(arg));
  const operand = { ...node, filter: map };
  return { ...node, operand, filter: { ...filter, args: others } };
}

const ATTRIBUTE = "attribute";

/** The filter that keeps what another one leaves out. */
const OPPOSITES: Readonly<Record<string, string>> = {
  selectattr: "rejectattr",
  rejectattr: "selectattr",
};

/** Names that statements set for themselves: those of loops and macros in them are their own. */
function assignedIn(body: unknown): string[] {
  if (!Array.isArray(body)) return [];
  return body.flatMap((statement) => {
    if (!isNode(statement)) return [];
    if (statement.type === "Set") return identifiersIn(statement.assignee);
    if (statement.type === "If") {
      return [...assignedIn(statement.body), ...assignedIn(statement.alternate)];
    }
    return [];
  });
}

function identifiersIn(target: unknown): string[] {
  if (!isNode(target)) return [];
  if (target.type === "Identifier") return [String(target.value)];
  if (target.type !== "TupleLiteral" || !Array.isArray(target.value)) return [];
  return target.value.flatMap(identifiersIn);
}

/** Whether a name is a loop's own variable, which every iteration has anew. */
function namesOf(loop: Node, name: string): boolean {
  return name === "loop" || identifiersIn(loop.loopvar).includes(name);
}

/** As Python: texts and numbers differ, true is 1, lists and objects are equal by what they hold. */
function areEqual(left: unknown, right: unknown): boolean {
  if (typeof left === "object" && left !== null) return areAlike(left, right);
  if (typeof left === "boolean" || typeof left === "number") {
    const isNumber = typeof right === "boolean" || typeof right === "number";
    return isNumber && Number(left) === Number(right);
  }
  return left === right;
}

function areAlike(left: object, right: unknown): boolean {
  if (Array.isArray(left)) {
    return Array.isArray(right) && left.length === right.length &&
      left.every((item, i) => areEqual(held(item), held(right[i])));
  }
  if (left instanceof Map) {
    return right instanceof Map && left.size === right.size &&
      [...left].every(([key, item]) =>
        right.has(key) && areEqual(held(item), held(right.get(key)))
      );
  }
  return left === right;
}

/** What one of the package's values holds. */
function held(item: unknown): unknown {
  return isNode(item) ? item.value : item;
}

/** Whether something is in a text, a list, or the keys of an object. */
function contains(item: unknown, whole: unknown): boolean {
  // What is missing holds nothing.
  if (whole === undefined) return false;
  if (typeof whole === "string" && typeof item === "string") return whole.includes(item);
  if (Array.isArray(whole)) return whole.some((other) => areEqual(item, held(other)));
  if (whole instanceof Map) return whole.has(item);
  throw new TypeError(`Cannot look for ${String(item)} in ${String(whole)}`);
}

/** One of the package's values as `str()` gives it. */
function written(item: unknown): string {
  if (!isNode(item) || item.type === "UndefinedValue") return "";
  return item.type === "StringValue" ? String(item.value) : represented(item);
}

/** One of the package's values as `repr()` gives it. */
function represented(item: unknown): string {
  if (!isNode(item)) return String(item);
  const { type, value } = item;
  const items = (values: unknown) => Array.isArray(values) ? values.map(represented) : [];
  switch (type) {
    case "NullValue":
      return "None";
    case "UndefinedValue":
      return "Undefined";
    case "BooleanValue":
      return value === true ? "True" : "False";
    case "StringValue":
      return quoted(String(value));
    case "ArrayValue":
      return `[${items(value).join(", ")}]`;
    case "TupleValue": {
      const parts = items(value);
      return `(${parts.join(", ")}${parts.length === 1 ? "," : ""})`;
    }
    case "ObjectValue": {
      const entries = value instanceof Map ? [...value] : [];
      const pairs = entries.map(([key, held]) => `${quoted(String(key))}: ${represented(held)}`);
      return `{${pairs.join(", ")}}`;
    }
  }
  return String(item);
}

/** A text between quotes, as Python chooses and escapes them. */
function quoted(value: string): string {
  const quote = value.includes("'") && !value.includes('"') ? '"' : "'";
  const named: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const escaped = value.replace(/[\\\n\r\t]/g, (character) => named[character] ?? "\\\\")
    .replaceAll(quote, `\\${quote}`);
  return `${quote}${escaped}${quote}`;
}

function capitalized(value: unknown): string {
  if (typeof value !== "string") {
    throw new TypeError(`capitalize() must have a text: current value is ${String(value)}`);
  }
  const [first = ""] = value;
  return first.toUpperCase() + value.slice(first.length).toLowerCase();
}

function stripped(name: string, value: unknown, characters: unknown): string {
  if (typeof value !== "string") {
    throw new TypeError(`${name}() must have a text: current value is ${String(value)}`);
  }
  const sides = { start: name !== "rstrip", end: name !== "lstrip" };
  if (typeof characters !== "string") {
    const begun = sides.start ? value.trimStart() : value;
    return sides.end ? begun.trimEnd() : begun;
  }
  const set = new Set(characters);
  const all = [...value];
  let start = 0;
  let end = all.length;
  while (sides.start && start < end && set.has(all[start] ?? "")) start++;
  while (sides.end && end > start && set.has(all[end - 1] ?? "")) end--;
  return all.slice(start, end).join("");
}
