/**
 * A model with all that its requests share, and one request's way through it.
 *
 * @module
 */
import type { ChatRenderer } from "../../lib/model/chat_template.ts";
import type { Admission } from "./admission.ts";
import type { AnswerSetup } from "./answer.ts";
import { ApiError } from "./errors.ts";
import type { Metrics } from "./metrics.ts";
import type { BytesOf } from "./token_texts.ts";

/** What a service is made of. */
export interface ServiceParts {
  readonly setup: AnswerSetup;
  readonly modelName: string;
  /** Ids that end a completion. */
  readonly endIds: readonly number[];
  /** The model's chat template, if it has one. */
  readonly chatTemplate: ChatRenderer | undefined;
  /** Ids that end an answer of a chat. */
  readonly chatEndIds: readonly number[];
  /** The bytes of a token that is no whole characters. */
  readonly bytesOf: BytesOf;
  readonly admission: Admission;
  readonly metrics: Metrics;
}

/** What all requests share. */
export interface Service extends ServiceParts {
  /** Lets prompts in, until the stack is disposed of. @throws {ApiError} If the queue is full. */
  enter(prompts: number): DisposableStack;
  /** The ids of a prompt. @throws {ApiError} If it has none, or one that is no token. */
  promptIds(prompt: string | Int32Array): Promise<Int32Array>;
}

/** One request. */
export interface ServiceCall {
  /** Ends what was asked when the client goes, or a part of it fails. */
  readonly signal: AbortSignal;
  readonly cancel: () => void;
  /** Runs the parts of a request at once; when one fails, the others end. */
  together<T, R>(parts: readonly T[], run: (part: T) => Promise<R>): Promise<R[]>;
}

/** Makes a service. */
export function openService(parts: ServiceParts): Service {
  const { setup: { model }, admission } = parts;
  return {
    ...parts,
    enter: (prompts) => {
      const stack = new DisposableStack();
      stack.use(admission.enter(prompts));
      return stack;
    },
    promptIds: async (prompt) => {
      const ids = typeof prompt === "string" ? await model.tokenizer.encode(prompt) : prompt;
      const { vocabularySize } = model.config;
      const wrong = ids.find((id) => id >= vocabularySize);
      if (ids.length > 0 && wrong === undefined) return ids;
      const fault = wrong === undefined
        ? "it must have a token: current value is 0"
        : `its ids must be from 0 to ${vocabularySize - 1}: current value is ${wrong}`;
      throw new ApiError(400, `The prompt cannot be used as ${fault}`, { param: "prompt" });
    },
  };
}

/** A call that ends when one of some signals says so. */
export function openCall(ends: readonly AbortSignal[]): ServiceCall {
  const { signal, cancel } = endedBy(ends);
  return {
    signal,
    cancel,
    together: async (parts, run) => {
      const runs = parts.map(run);
      try {
        return await Promise.all(runs);
      } catch (error) {
        cancel();
        // The queue counts them until they have ended.
        await Promise.allSettled(runs);
        throw error;
      }
    },
  };
}

/** A signal that follows others, and a function that does what they do. */
function endedBy(ends: readonly AbortSignal[]): { signal: AbortSignal; cancel: () => void } {
  const abort = new AbortController();
  const cancel = () => abort.abort();
  for (const end of ends) {
    if (end.aborted) cancel();
    // It goes with the call, so that nothing piles up on a signal that outlives it.
    else end.addEventListener("abort", cancel, { once: true, signal: abort.signal });
  }
  return { signal: abort.signal, cancel };
}
