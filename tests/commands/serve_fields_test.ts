import { ApiError } from "../../commands/serve/errors.ts";
import {
  CHAT_FIELDS,
  commonFields,
  COMPLETION_FIELDS,
  templateField,
} from "../../commands/serve/fields.ts";
import { assertEquals, assertThrows } from "../helpers/assert.ts";

Deno.test("templateField() reads the values of a chat template", () => {
  assertEquals(templateField({}), {});
  const values = { enable_thinking: false, style: "short" };
  assertEquals(templateField({ chat_template_kwargs: values }), values);
  for (const other of [true, "x", [1]]) {
    assertThrows(
      () => templateField({ chat_template_kwargs: other }),
      ApiError,
      "'chat_template_kwargs' must be an object",
    );
  }
});

Deno.test("commonFields() takes a chat template's values in chats alone", () => {
  const body = { chat_template_kwargs: {} };
  assertEquals(commonFields(body, { known: CHAT_FIELDS, model: "m" }).stop, []);
  assertThrows(
    () => commonFields(body, { known: COMPLETION_FIELDS, model: "m" }),
    ApiError,
    "'chat_template_kwargs' is no field of this request",
  );
});
