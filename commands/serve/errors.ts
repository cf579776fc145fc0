/**
 * Errors and answers in the form of OpenAI's interface.
 *
 * @module
 */
import { DeviceError, errorText, RequestError, UsageError } from "../../lib/errors.ts";

/** A request that is refused. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    message: string,
    options: {
      param?: string;
      code?: string;
      cause?: unknown;
      headers?: Readonly<Record<string, string>>;
    } = {},
  ) {
    super(message, options.cause === undefined ? {} : { cause: options.cause });
    this.status = status;
    this.param = options.param ?? null;
    this.code = options.code ?? null;
    this.headers = options.headers ?? {};
  }
}

/** The error about a field of a request. */
export function fieldError(param: string, fault: { rule: string; value: unknown }): ApiError {
  const value = JSON.stringify(fault.value)?.slice(0, 80) ?? "absent";
  return new ApiError(400, `'${param}' must be ${fault.rule}: current value is ${value}`, {
    param,
  });
}

const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** What an error is to a client. */
export function apiErrorOf(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  const text = errorText(error);
  if (error instanceof RequestError || error instanceof UsageError) {
    return new ApiError(400, text, { cause: error });
  }
  // There may be memory again when others are done.
  if (error instanceof DeviceError) return new ApiError(503, text, { cause: error });
  return new ApiError(500, text, { cause: error });
}

/** A JSON answer. */
export function jsonResponse(
  body: unknown,
  status = 200,
  further: Readonly<Record<string, string>> = {},
): Response {
  const headers = new Headers({ "Content-Type": "application/json", ...further });
  if (status === 429 || status === 503) headers.set("Retry-After", "1");
  if (status === 401) headers.set("WWW-Authenticate", "Bearer");
  return new Response(`${JSON.stringify(body)}\n`, { status, headers });
}

/** The answer to a request that failed. */
export function errorResponse(error: unknown): Response {
  const { status, message, param, code, headers } = apiErrorOf(error);
  const type = TYPES[status] ?? (status < 500 ? "invalid_request_error" : "server_error");
  return jsonResponse({ error: { message, type, param, code } }, status, headers);
}
