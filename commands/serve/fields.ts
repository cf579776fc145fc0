/**
 * Reads the fields of a request's body.
 *
 * @module
 */
import { isJsonObject } from "../../lib/text_file.ts";
import type { TemplateValues } from "../../lib/model/chat_template.ts";
import { ApiError, fieldError } from "./errors.ts";

/** A body: a JSON object; `null` counts as absent. */
export type Body = Readonly<Record<string, unknown>>;

/** What completions and chats have in common. */
export interface CommonFields {
  readonly maxTokens: number | undefined;
  readonly stop: readonly string[];
  readonly isStream: boolean;
  readonly withUsage: boolean;
  /** Whether an answer goes on behind the model's end-of-sequence ids: vLLM's field. */
  readonly ignoresEnd: boolean;
}

/** Fields of both, whose values are read here, or change nothing in a greedy answer. */
const COMMON = [
  ...["model", "max_tokens", "stop", "stream", "stream_options", "n", "temperature"],
  ...["frequency_penalty", "presence_penalty", "logit_bias", "logprobs"],
  ...[
    "top_p",
    "seed",
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "ignore_eos",
  ],
];
export const COMPLETION_FIELDS = [...COMMON, "prompt", "echo", "best_of", "suffix"];
export const CHAT_FIELDS = [
  ...COMMON,
  ...["messages", "top_logprobs", "max_completion_tokens", "response_format", "tools"],
  "chat_template_kwargs",
];
const MAX_STOPS = 16;

/**
 * Reads what both kinds of requests have.
 *
 * @throws {ApiError} If a field is unknown, or asks for what the server has not.
 */
export function commonFields(
  body: Body,
  options: { known: readonly string[]; model: string },
): CommonFields {
  const { known, model } = options;
  const unknown = Object.keys(body).find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new ApiError(400, `'${unknown}' is no field of this request`, { param: unknown });
  }
  const { model: named } = body;
  if (named !== undefined && named !== model) {
    const text = `The model ${JSON.stringify(named)} does not exist: this server has '${model}'`;
    throw new ApiError(404, text, { param: "model", code: "model_not_found" });
  }
  checkGreedy(body);
  const stop = typeof body.stop === "string" ? [body.stop] : body.stop ?? [];
  if (!isTexts(stop) || stop.length > MAX_STOPS || stop.includes("")) {
    throw fieldError("stop", {
      rule: `a text, or at most ${MAX_STOPS} of them, none of them empty`,
      value: stop,
    });
  }
  const streaming = body.stream_options ?? {};
  if (!isJsonObject(streaming)) {
    throw fieldError("stream_options", { rule: "an object", value: streaming });
  }
  return {
    stop,
    maxTokens: wholeField(body, "max_tokens", { min: 0, max: 2 ** 31 - 1 }),
    isStream: switchField(body, "stream"),
    ignoresEnd: switchField(body, "ignore_eos"),
    withUsage: streaming.include_usage === true,
  };
}

/** Answers are greedy: what asks for others is refused, not ignored. */
function checkGreedy(body: Body): void {
  const only = (name: string, rule: string, isFine: (value: unknown) => boolean) => {
    const value = body[name];
    if (value !== undefined && !isFine(value)) throw fieldError(name, { rule, value });
  };
  only("temperature", "0, as answers are greedy", (value) => value === 0);
  for (const name of ["n", "best_of"]) {
    only(name, "1, as answers are greedy", (value) => value === 1);
  }
  for (const name of ["frequency_penalty", "presence_penalty"]) {
    only(name, "0, as answers are greedy", (value) => value === 0);
  }
  const isEmpty = (value: unknown) =>
    typeof value === "object" && value !== null && Object.keys(value).length === 0;
  only("logit_bias", "empty, as answers are greedy", isEmpty);
  only("tools", "empty, as tools are not called", isEmpty);
  only("suffix", "absent", (value) => value === "");
  only("response_format", "of type text", (value) => isJsonObject(value) && value.type === "text");
}

/** A whole number. @throws {ApiError} If it is none, or out of its range. */
export function wholeField(
  body: Body,
  name: string,
  range: { min: number; max: number },
): number | undefined {
  const value = body[name];
  if (value === undefined) return undefined;
  const { min, max } = range;
  if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) {
    return value;
  }
  throw fieldError(name, { rule: `a whole number from ${min} to ${max}`, value });
}

/** Yes or no; no if it is absent. @throws {ApiError} If it is neither. */
export function switchField(body: Body, name: string): boolean {
  const value = body[name] ?? false;
  if (typeof value === "boolean") return value;
  throw fieldError(name, { rule: "true or false", value });
}

/** The prompts of a completion: a text, ids, or a list of either. */
export function promptField(body: Body): readonly (string | Int32Array)[] {
  const { prompt } = body;
  const rule = "a text, an array of ids, or an array of either, none of them empty";
  const all = typeof prompt === "string" || isIds(prompt) ? [prompt] : prompt;
  if (!Array.isArray(all) || all.length === 0) throw fieldError("prompt", { rule, value: prompt });
  return all.map((one: unknown) => {
    if (typeof one === "string" && one !== "") return one;
    if (isIds(one)) return Int32Array.from(one);
    throw fieldError("prompt", { rule, value: one });
  });
}

/** Values that the chat template asks for: vLLM's field. */
export function templateField(body: Body): TemplateValues {
  const { chat_template_kwargs: values = {} } = body;
  if (isJsonObject(values)) return values;
  throw fieldError("chat_template_kwargs", { rule: "an object", value: values });
}

/** Whether a value is an array of texts. */
export function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}

function isIds(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 &&
    value.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31);
}
