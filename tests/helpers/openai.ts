/**
 * The `openai` client as it comes, and as much of its types as tests use. It is imported by a name
 * that Deno does not see: what only tests need is not in the lock file, which users fetch whole.
 *
 * @module
 */

const PACKAGE: string = "npm:openai@6.9.1";

interface Logprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly (number | null)[];
  readonly top_logprobs: readonly (Readonly<Record<string, number>> | null)[];
  readonly text_offset: readonly number[];
}

interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

interface Completion {
  readonly choices: readonly {
    readonly text: string;
    readonly finish_reason: string | null;
    readonly logprobs: Logprobs | null;
  }[];
  readonly usage?: Usage;
}

interface Chat {
  readonly choices: readonly {
    readonly message: { readonly content: string };
    readonly delta: { readonly content?: string };
    readonly finish_reason: string | null;
    readonly logprobs: {
      readonly content: readonly {
        readonly logprob: number;
        readonly top_logprobs: readonly unknown[];
      }[];
    } | null;
  }[];
  readonly usage?: Usage;
}

interface Stream<T> extends AsyncIterable<T> {
  readonly controller: AbortController;
}

interface Endpoint<T> {
  create(
    fields: Readonly<Record<string, unknown>> & { readonly stream: true },
    options?: { signal: AbortSignal },
  ): Promise<Stream<T>>;
  create(
    fields: Readonly<Record<string, unknown>>,
    options?: { signal: AbortSignal },
  ): Promise<T>;
}

/** A client. */
export interface OpenAiClient {
  readonly completions: Endpoint<Completion>;
  readonly chat: { readonly completions: Endpoint<Chat> };
  readonly models: {
    list(): Promise<{ readonly data: readonly { readonly id: string }[] }>;
    retrieve(name: string): Promise<{ readonly id: string }>;
  };
}

/** How a client fails. */
export interface ApiFailure extends Error {
  readonly status: number;
}

/** The package's default export. */
export interface OpenAiPackage {
  new (options: { baseURL: string; apiKey: string; maxRetries: number }): OpenAiClient;
  readonly APIError: new (...args: never) => ApiFailure;
  readonly RateLimitError: new (...args: never) => ApiFailure;
  readonly AuthenticationError: new (...args: never) => ApiFailure;
}

/** Loads the client. */
export async function importOpenAi(): Promise<OpenAiPackage> {
  const { default: found }: { default: OpenAiPackage } = await import(PACKAGE);
  return found;
}
