/**
 * `/v1/chat/completions`: conversations, in the form of the model's own chat template.
 *
 * @module
 */
import { FileError } from "../../lib/errors.ts";
import type { ChatMessage, ChatRenderer, TemplateValues } from "../../lib/model/chat_template.ts";
import { type Answered, answerLength, answerPrompt } from "./answer.ts";
import { usageOf } from "./completions.ts";
import { ApiError, fieldError, jsonResponse } from "./errors.ts";
import { eventStream } from "./event_stream.ts";
import {
  type Body,
  CHAT_FIELDS,
  type CommonFields,
  commonFields,
  templateField,
} from "./fields.ts";
import { switchField, wholeField } from "./fields.ts";
import { messagesField } from "./messages.ts";
import type { Service, ServiceCall } from "./service.ts";
import { TextStream } from "./text_stream.ts";
import { chatLogprobs } from "./token_texts.ts";

/** As OpenAI has it. */
const MAX_LOGPROBS = 20;

/** A request that is read. */
interface Job {
  readonly service: Service;
  readonly call: ServiceCall;
  readonly fields: CommonFields;
  readonly ids: Int32Array;
  readonly maxTokens: number;
  readonly top: number | undefined;
  readonly endIds: readonly number[];
  /** What all parts of the answer begin with. */
  readonly head: object;
}

/** Answers a request. @throws {ApiError} If it cannot be used. */
export async function chat(service: Service, body: Body, call: ServiceCall): Promise<Response> {
  const { setup, modelName, chatTemplate } = service;
  const fields = commonFields(body, { known: CHAT_FIELDS, model: modelName });
  const top = topField(body);
  const messages = messagesField(body);
  const values = templateField(body);
  if (chatTemplate === undefined) {
    throw new ApiError(400, `The model ${modelName} has no chat template: use /v1/completions`);
  }
  using entry = service.enter(1);
  const ids = await service.promptIds(await rendered(chatTemplate, { messages, values }));
  const limit = wholeField(body, "max_completion_tokens", { min: 1, max: 2 ** 31 - 1 });
  const maxTokens = answerLength(setup, {
    promptTokens: ids.length,
    asked: limit ?? fields.maxTokens,
    param: limit === undefined ? "max_tokens" : "max_completion_tokens",
  });
  const endIds = fields.ignoresEnd ? [] : service.chatEndIds;
  const head = {
    id: `chatcmpl-${crypto.randomUUID()}`,
    object: fields.isStream ? "chat.completion.chunk" : "chat.completion",
    created: Math.floor(Date.now() / 1000),
    model: modelName,
  };
  const job = { service, call, fields, ids, maxTokens, top, endIds, head };
  if (fields.isStream) return await streamOf(job, entry.move());
  const answered = await answerOf(job);
  const message = { role: "assistant", content: answered.text, refusal: null };
  const choice = {
    index: 0,
    message,
    finish_reason: answered.finishReason,
    logprobs: await logprobsOf(job, answered),
  };
  const usage = usageOf([{ answered, prompt: { ids } }]);
  return jsonResponse({ ...head, choices: [choice], usage });
}

/** The prompt of a conversation. @throws {ApiError} If the template refuses it. */
async function rendered(
  template: ChatRenderer,
  { messages, values }: { messages: readonly ChatMessage[]; values: TemplateValues },
): Promise<string> {
  try {
    return await template.render(messages, values);
  } catch (error) {
    throw error instanceof FileError ? new ApiError(400, error.message, { cause: error }) : error;
  }
}

/** The pieces of the answer as they come; with log-probabilities it comes in one. */
async function streamOf(job: Job, stay: DisposableStack): Promise<Response> {
  const { service: { setup }, call, fields, ids, top, endIds, head } = job;
  const { model: { tokenizer } } = setup;
  return await eventStream(async (sink) => {
    using _entry = stay;
    const send = (delta: unknown, end: { finish_reason: string | null; logprobs: unknown }) =>
      sink.send({ ...head, choices: [{ index: 0, delta, ...end }] });
    const open = { finish_reason: null, logprobs: null };
    let isBegun = false;
    const part = (content: string) => {
      send({ ...(isBegun ? {} : { role: "assistant" }), content }, open);
      isBegun = true;
    };
    const stream = new TextStream({ tokenizer, stop: fields.stop, endIds, send: part });
    const answered = await answerOf(job, top === undefined ? (ids) => stream.push(ids) : undefined);
    await stream.end(answered.text);
    if (!isBegun) part("");
    const logprobs = await logprobsOf(job, answered);
    send({}, { finish_reason: answered.finishReason, logprobs });
    if (!fields.withUsage) return;
    const usage = usageOf([{ answered, prompt: { ids } }]);
    sink.send({ ...head, choices: [], usage });
  }, call.cancel);
}

async function answerOf(
  job: Job,
  onIds?: (ids: readonly number[]) => void,
): Promise<Answered> {
  const { service: { setup, metrics }, call: { signal }, fields: { stop } } = job;
  const { ids, maxTokens, endIds, top } = job;
  const ask = { ids, maxTokens, stop, endIds, top, echo: false, signal, onIds };
  const answered = await answerPrompt(setup, ask);
  metrics.addTokens({ prompt: ids.length, generated: answered.ids.length });
  return answered;
}

async function logprobsOf(job: Job, { scores }: Answered): Promise<object | null> {
  const { setup: { model: { tokenizer } }, bytesOf } = job.service;
  return scores === undefined ? null : await chatLogprobs(scores, { tokenizer, bytesOf });
}

function topField(body: Body): number | undefined {
  const top = wholeField(body, "top_logprobs", { min: 0, max: MAX_LOGPROBS });
  if (switchField(body, "logprobs")) return top ?? 0;
  if (top === undefined) return undefined;
  throw fieldError("top_logprobs", { rule: "absent without 'logprobs'", value: top });
}
