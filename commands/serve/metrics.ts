/**
 * What the server has done so far, as Prometheus reads it.
 *
 * @module
 */
import type { Admission } from "./admission.ts";

/** Counts requests and tokens. */
export class Metrics {
  readonly #requests = new Map<string, number>();
  #seconds = 0;
  #promptTokens = 0;
  #generatedTokens = 0;

  /** Counts an answered request. */
  addRequest(request: { path: string; status: number; seconds: number }): void {
    const labels = `path="${request.path}",status="${request.status}"`;
    this.#requests.set(labels, (this.#requests.get(labels) ?? 0) + 1);
    this.#seconds += request.seconds;
  }

  /** Counts the tokens of a prompt that is done. */
  addTokens(tokens: { prompt: number; generated: number }): void {
    this.#promptTokens += tokens.prompt;
    this.#generatedTokens += tokens.generated;
  }

  /** Prometheus' text format, version 0.0.4. */
  format(admission: Admission): string {
    const { count, places } = admission;
    const running = Math.min(count, places);
    const requests = [...this.#requests].map(([labels, value]) => [`{${labels}}`, value] as const);
    const total = [...this.#requests.values()].reduce((sum, value) => sum + value, 0);
    return [
      family("starx_requests_total", "counter", "Requests answered", requests),
      family("starx_request_seconds_sum", "counter", "Seconds until requests were answered", [
        ["", this.#seconds],
      ]),
      family("starx_request_seconds_count", "counter", "Requests that were timed", [["", total]]),
      family("starx_prompts_running", "gauge", "Prompts with a place in the batch", [[
        "",
        running,
      ]]),
      family("starx_prompts_waiting", "gauge", "Prompts in the queue", [["", count - running]]),
      family("starx_prompt_tokens_total", "counter", "Tokens of prompts", [
        ["", this.#promptTokens],
      ]),
      family("starx_generated_tokens_total", "counter", "Tokens generated", [
        ["", this.#generatedTokens],
      ]),
    ].join("");
  }
}

function family(
  name: string,
  type: "counter" | "gauge",
  help: string,
  values: readonly (readonly [string, number])[],
): string {
  const lines = values.map(([labels, value]) => `${name}${labels} ${value}\n`).join("");
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines}`;
}
