import {
  compareCodePoints,
  formatFields,
  removeNewlines,
  sortedSet,
  splitWords,
  strippedLines,
} from "../../../ruler/python/strings.ts";
import { listRepr } from "../../../ruler/python/text.ts";
import { assertEquals, assertThrows } from "../../helpers/assert.ts";

Deno.test("splitWords() splits at Python's white space", () => {
  assertEquals(splitWords(""), []);
  assertEquals(splitWords(" \t\n"), []);
  assertEquals(splitWords(" a\x1cb\x85c\xa0\u3000d\n"), ["a", "b", "c", "d"]);
  assertEquals(splitWords("a\ufeffb\u200bc"), ["a\ufeffb\u200bc"]);
});

Deno.test("removeNewlines() leaves one space between words", () => {
  assertEquals(removeNewlines("\n\na\tb  c\n"), "a b c");
});

Deno.test("strippedLines() keeps spaces in front and drops those behind", () => {
  assertEquals(strippedLines("a \n b\r\n\nc"), ["a", " b", "", "c"]);
  assertEquals(strippedLines("a\n"), ["a"]);
  assertEquals(strippedLines(""), []);
});

Deno.test("sortedSet() sorts by code points", () => {
  assertEquals(sortedSet(["b", "a", "b", "ab", ""]), ["", "a", "ab", "b"]);
  const [astral, private_] = ["\u{1f600}", "\ue000"];
  assertEquals(sortedSet([astral, private_, "z"]), ["z", private_, astral]);
  assertEquals(compareCodePoints(`x${private_}`, `x${astral}`) < 0, true);
  assertEquals(compareCodePoints("\u{1f600}", "\u{1f601}") < 0, true);
});

Deno.test("formatFields() fills each field and leaves values as they are", () => {
  assertEquals(
    formatFields("{a} and {a}: {b}", { a: "{b} $& $1", b: 5 }),
    "{b} $& $1 and {b} $& $1: 5",
  );
});

Deno.test("formatFields() throws if a field has no value", () => {
  assertThrows(
    () => formatFields("{a}{c}", { a: 1 }),
    TypeError,
    "Cannot format as field {c} has no value",
  );
});

Deno.test("listRepr() quotes texts as Python does", () => {
  assertEquals(listRepr([]), "[]");
  assertEquals(listRepr(["FITJT", "VGCAO"]), "['FITJT', 'VGCAO']");
  assertEquals(listRepr(["it's"]), `["it's"]`);
  assertEquals(listRepr([`it's "so"`]), `['it\\'s "so"']`);
  assertEquals(listRepr([`"so"`]), `['"so"']`);
  assertEquals(
    listRepr(["\\ \n\r\t\x00\x7f\x85\xa0\xad\u2028\ue000\u{e0001}\u{1f600}\u00e9 \u4e2d"]),
    "['\\\\ \\n\\r\\t\\x00\\x7f\\x85\\xa0\\xad\\u2028\\ue000\\U000e0001\u{1f600}\u00e9 \u4e2d']",
  );
});
