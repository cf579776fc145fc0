/**
 * Reads the messages of a chat.
 *
 * @module
 */
import { isJsonObject } from "../../lib/text_file.ts";
import type { ChatMessage } from "../../lib/model/chat_template.ts";
import { fieldError } from "./errors.ts";
import { type Body, isTexts } from "./fields.ts";

/**
 * The messages of a chat, with contents of text only. The template gets their other fields, too (`name`,
 * `tool_calls`, `reasoning_content`); a message with calls may have no content.
 *
 * @throws {ApiError} If there are none, or one has no role or another content.
 */
export function messagesField(body: Body): readonly ChatMessage[] {
  const { messages } = body;
  const rule = "an array of messages with a role and a text as content";
  if (!Array.isArray(messages) || messages.length === 0) {
    throw fieldError("messages", { rule, value: messages });
  }
  return messages.map((message: unknown) => {
    if (!isJsonObject(message)) throw fieldError("messages", { rule, value: message });
    const { role, content: given, tool_calls: calls } = message;
    const content = given ?? (Array.isArray(calls) ? "" : undefined);
    const text = typeof content === "string" ? content : partsText(content);
    if (typeof role === "string" && text !== undefined) {
      const all = { ...message, role, content: text };
      return Array.isArray(calls) ? { ...all, tool_calls: calls.map(withArguments) } : all;
    }
    throw fieldError("messages", { rule, value: message });
  });
}

function partsText(content: unknown): string | undefined {
  if (!Array.isArray(content)) return undefined;
  const texts = content.map((part: unknown) =>
    isJsonObject(part) && part.type === "text" ? part.text : undefined
  );
  return isTexts(texts) ? texts.join("") : undefined;
}

/** A call of a tool whose arguments are the object that their text holds: templates write them out. */
function withArguments(call: unknown): unknown {
  if (!isJsonObject(call) || !isJsonObject(call.function)) return call;
  const { arguments: given } = call.function;
  if (typeof given !== "string") return call;
  try {
    const values: unknown = JSON.parse(given);
    if (!isJsonObject(values)) return call;
    return { ...call, function: { ...call.function, arguments: values } };
  } catch {
    // A model may have written what is no JSON: the template shows it as it is.
    return call;
  }
}
