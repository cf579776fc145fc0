/**
 * `/v1/chat/completions`: conversations, in the form of the model's own chat template.
 *
 * @module
 */
import { type Answered, answerLength, answerPrompt } from "./answer.ts";
import { usageOf } from "./completions.ts";
import { ApiError, fieldError, jsonResponse } from "./errors.ts";
import { eventStream } from "./event_stream.ts";
import { type Body, CHAT_FIELDS, commonFields, messagesField } from "./fields.ts";
import { switchField, wholeField } from "./fields.ts";
import type { Service, ServiceCall } from "./service.ts";
import { TextStream } from "./text_stream.ts";
import { chatLogprobs } from "./token_texts.ts";

/** As OpenAI has it. */
const MAX_LOGPROBS = 20;

/** Answers a request. @throws {ApiError} If it cannot be used. */
export async function chat(service: Service, body: Body, call: ServiceCall): Promise<Response> {
  const { setup, modelName, chatTemplate } = service;
  const { model: { tokenizer } } = setup;
  const fields = commonFields(body, { known: CHAT_FIELDS, model: modelName });
  const top = topField(body);
  const messages = messagesField(body);
  if (chatTemplate === undefined) {
    throw new ApiError(400, `The model ${modelName} has no chat template: use /v1/completions`);
  }
  using entry = service.enter(1);
  const ids = await service.promptIds(await chatTemplate.render(messages));
  const limit = wholeField(body, "max_completion_tokens", { min: 1, max: 2 ** 31 - 1 });
  const maxTokens = answerLength(setup, {
    promptTokens: ids.length,
    asked: limit ?? (fields.maxTokens === 0 ? 1 : fields.maxTokens),
    param: limit === undefined ? "max_tokens" : "max_completion_tokens",
  });
  const endIds = fields.ignoresEnd ? [] : service.chatEndIds;
  const answer = async (onIds?: (ids: readonly number[]) => void): Promise<Answered> => {
    const ask = { ids, maxTokens, stop: fields.stop, endIds, top, echo: false };
    const answered = await answerPrompt(setup, { ...ask, signal: call.signal, onIds });
    service.metrics.addTokens({ prompt: ids.length, generated: answered.ids.length });
    return answered;
  };
  const logprobsOf = async ({ scores }: Answered) =>
    scores === undefined ? null : await chatLogprobs(scores, tokenizer);
  const head = {
    id: `chatcmpl-${crypto.randomUUID()}`,
    created: Math.floor(Date.now() / 1000),
    model: modelName,
  };
  if (!fields.isStream) {
    const answered = await answer();
    const message = { role: "assistant", content: answered.text, refusal: null };
    return jsonResponse({
      ...head,
      object: "chat.completion",
      choices: [{
        index: 0,
        message,
        finish_reason: answered.finishReason,
        logprobs: await logprobsOf(answered),
      }],
      usage: usageOf([{ answered, prompt: { ids } }]),
    });
  }
  const stay = entry.move();
  return await eventStream(async (sink) => {
    using _entry = stay;
    const send = (delta: unknown, end: { finish_reason: string | null; logprobs: unknown }) =>
      sink.send({
        ...{ ...head, object: "chat.completion.chunk" },
        choices: [{ index: 0, delta, ...end }],
      });
    const open = { finish_reason: null, logprobs: null };
    let isBegun = false;
    const part = (content: string) => {
      send({ ...(isBegun ? {} : { role: "assistant" }), content }, open);
      isBegun = true;
    };
    const stream = new TextStream({ tokenizer, stop: fields.stop, endIds, send: part });
    const answered = await answer(top === undefined ? (ids) => stream.push(ids) : undefined);
    await stream.end(answered.text);
    if (!isBegun) part("");
    const logprobs = await logprobsOf(answered);
    send({}, { finish_reason: answered.finishReason, logprobs });
    if (!fields.withUsage) return;
    const usage = usageOf([{ answered, prompt: { ids } }]);
    sink.send({ ...head, object: "chat.completion.chunk", choices: [], usage });
  }, call.cancel);
}

function topField(body: Body): number | undefined {
  const top = wholeField(body, "top_logprobs", { min: 0, max: MAX_LOGPROBS });
  if (switchField(body, "logprobs")) return top ?? 0;
  if (top === undefined) return undefined;
  throw fieldError("top_logprobs", { rule: "absent without 'logprobs'", value: top });
}
