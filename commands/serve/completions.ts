/**
 * `/v1/completions`: texts that go on.
 *
 * @module
 */
import { type Answered, answerLength, answerPrompt } from "./answer.ts";
import { eventStream } from "./event_stream.ts";
import { jsonResponse } from "./errors.ts";
import {
  type Body,
  type CommonFields,
  commonFields,
  COMPLETION_FIELDS,
  promptField,
} from "./fields.ts";
import { switchField, wholeField } from "./fields.ts";
import type { Service, ServiceCall } from "./service.ts";
import { TextStream } from "./text_stream.ts";
import { completionLogprobs } from "./token_texts.ts";

/** As OpenAI has it. */
const DEFAULT_TOKENS = 16;
/** Of the most likely tokens at a position. */
const MAX_LOGPROBS = 100;

/** A prompt of the request. */
interface Prompt {
  readonly index: number;
  readonly ids: Int32Array;
  /** What is echoed. */
  readonly text: string;
}

/** A request that is read. */
interface Job {
  readonly service: Service;
  readonly call: ServiceCall;
  readonly fields: CommonFields;
  readonly prompts: readonly Prompt[];
  readonly maxTokens: number;
  readonly top: number | undefined;
  readonly echo: boolean;
  readonly endIds: readonly number[];
  /** What all parts of the answer begin with. */
  readonly head: object;
}

/** Answers a request. @throws {ApiError} If it cannot be used. */
export async function completions(
  service: Service,
  body: Body,
  call: ServiceCall,
): Promise<Response> {
  const { setup, modelName } = service;
  const { model: { tokenizer } } = setup;
  const fields = commonFields(body, { known: COMPLETION_FIELDS, model: modelName });
  const endIds = fields.ignoresEnd ? [] : service.endIds;
  const top = wholeField(body, "logprobs", { min: 0, max: MAX_LOGPROBS });
  const echo = switchField(body, "echo");
  const texts = promptField(body);
  using entry = service.enter(texts.length);
  const prompts = await Promise.all(texts.map(async (prompt, index): Promise<Prompt> => ({
    index,
    ids: await service.promptIds(prompt),
    text: !echo ? "" : typeof prompt === "string" ? prompt : await tokenizer.decode([...prompt]),
  })));
  const maxTokens = fields.maxTokens ?? DEFAULT_TOKENS;
  for (const { ids: { length: promptTokens } } of prompts) {
    answerLength(setup, { promptTokens, asked: maxTokens, param: "max_tokens" });
  }
  const head = {
    id: `cmpl-${crypto.randomUUID()}`,
    object: "text_completion",
    created: Math.floor(Date.now() / 1000),
    model: modelName,
  };
  const job = { service, call, fields, prompts, maxTokens, top, echo, endIds, head };
  if (fields.isStream) return await streamOf(job, entry.move());
  const all = await call.together(prompts, async (prompt) => {
    const answered = await answerOf(job, prompt);
    const choice = await choiceOf(job, { prompt, answered, text: prompt.text + answered.text });
    return { choice, answered, prompt };
  });
  const choices = all.map(({ choice }) => choice);
  return jsonResponse({ ...head, choices, usage: usageOf(all) });
}

/** The pieces of all choices as they come. */
async function streamOf(job: Job, stay: DisposableStack): Promise<Response> {
  const { service: { setup }, call, fields, prompts, top, echo, endIds, head } = job;
  const { model: { tokenizer } } = setup;
  return await eventStream(async (sink) => {
    using _entry = stay;
    const all = await call.together(prompts, async (prompt) => {
      // The scores are those of the whole: with them it comes in one piece.
      const isWhole = top !== undefined;
      const { index } = prompt;
      const send = (text: string) =>
        sink.send({ ...head, choices: [{ index, text, finish_reason: null, logprobs: null }] });
      const stream = new TextStream({ tokenizer, stop: fields.stop, endIds, send });
      if (!isWhole && echo) send(prompt.text);
      const answered = await answerOf(job, prompt, isWhole ? undefined : (ids) => stream.push(ids));
      if (!isWhole) await stream.end(answered.text);
      const text = isWhole ? prompt.text + answered.text : "";
      sink.send({ ...head, choices: [await choiceOf(job, { prompt, answered, text })] });
      return { answered, prompt };
    });
    if (fields.withUsage) sink.send({ ...head, choices: [], usage: usageOf(all) });
  }, call.cancel);
}

async function answerOf(
  job: Job,
  { ids }: Prompt,
  onIds?: (ids: readonly number[]) => void,
): Promise<Answered> {
  const { service: { setup, metrics }, call: { signal }, fields: { stop } } = job;
  const { maxTokens, endIds, top, echo } = job;
  const ask = { ids, maxTokens, stop, endIds, top, echo, signal, onIds };
  const answered = await answerPrompt(setup, ask);
  metrics.addTokens({ prompt: ids.length, generated: answered.ids.length });
  return answered;
}

async function choiceOf(
  job: Job,
  part: { prompt: Prompt; answered: Answered; text: string },
): Promise<object> {
  const { prompt: { index }, answered: { finishReason, scores }, text } = part;
  const { tokenizer } = job.service.setup.model;
  const logprobs = scores === undefined
    ? null
    : await completionLogprobs(scores, { tokenizer, offset: 0 });
  return { index, text, finish_reason: finishReason, logprobs };
}

/** The tokens of all prompts and answers. */
export function usageOf(
  all: readonly { answered: Pick<Answered, "ids">; prompt: { ids: Int32Array } }[],
): { prompt_tokens: number; completion_tokens: number; total_tokens: number } {
  const prompt = all.reduce((sum, { prompt }) => sum + prompt.ids.length, 0);
  const completion = all.reduce((sum, { answered }) => sum + answered.ids.length, 0);
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
  };
}
