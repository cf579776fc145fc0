/**
 * The HTTP server: routes, keys and limits in front of the service.
 *
 * @module
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { WorkerError } from "../../lib/errors.ts";
import { isJsonObject } from "../../lib/text_file.ts";
import { chat } from "./chat.ts";
import { completions } from "./completions.ts";
import { ApiError, apiErrorOf, errorResponse, jsonResponse } from "./errors.ts";
import type { Body } from "./fields.ts";
import { listen } from "./listen.ts";
import { openCall, type Service } from "./service.ts";

/** How to listen. */
export interface ServerOptions {
  readonly hostname: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly apiKey?: string | undefined;
  readonly maxBodyBytes: number;
}

/** A server that listens. */
export interface RunningServer {
  readonly port: number;
  /** Ends with the first error after which the model cannot go on. */
  readonly failed: Promise<never>;
  /** Ends what runs, and the server. */
  close(): Promise<void>;
}

const POSTS = {
  "/v1/completions": completions,
  "/v1/chat/completions": chat,
} as const;
const PATHS = [...Object.keys(POSTS), "/v1/models", "/health", "/metrics"];

/** Starts to listen. @throws {UsageError} If nothing can listen there. */
export async function startServer(
  service: Service,
  options: ServerOptions,
): Promise<RunningServer> {
  const failure = Promise.withResolvers<never>();
  // Streams fail behind their answer's beginning, and a process may be lost while nobody asks.
  service.setup.model.lost?.then(failure.reject);
  // Whoever does not wait for it does not want to know.
  failure.promise.catch(() => {});
  const ending = new AbortController();
  const handle = async (request: Request): Promise<Response> => {
    const startMs = performance.now();
    const { pathname } = new URL(request.url);
    let response: Response;
    try {
      checkKey(request, { pathname, ...options });
      response = await route(request, { service, pathname, ending: ending.signal, ...options });
    } catch (error) {
      if (error instanceof WorkerError) failure.reject(error);
      // Nobody reads it; the number is nginx's.
      response = request.signal.aborted
        ? new Response(null, { status: 499 })
        : errorResponse(error);
    }
    // Any other path would be a label of its own.
    const path = PATHS.includes(pathname) ? pathname : "other";
    const seconds = (performance.now() - startMs) / 1000;
    service.metrics.addRequest({ path, status: response.status, seconds });
    return response;
  };
  const listener = await listen(options, handle);
  return {
    port: listener.port,
    failed: failure.promise,
    close: async () => {
      ending.abort();
      await listener.close();
    },
  };
}

/** @throws {ApiError} If a key is wanted and not given. */
function checkKey(
  request: Request,
  options: { apiKey?: string | undefined; pathname: string },
): void {
  const { apiKey, pathname } = options;
  if (apiKey === undefined || pathname === "/health") return;
  const given = request.headers.get("Authorization")?.replace(/^bearer +/i, "") ?? "";
  const digest = (text: string) => createHash("sha256").update(text).digest();
  if (timingSafeEqual(digest(given), digest(apiKey))) return;
  throw new ApiError(401, "The API key is missing or wrong", { code: "invalid_api_key" });
}

async function route(
  request: Request,
  options: {
    service: Service;
    pathname: string;
    ending: AbortSignal;
    maxBodyBytes: number;
  },
): Promise<Response> {
  const { service, pathname, ending } = options;
  const post = pathname === "/v1/completions" || pathname === "/v1/chat/completions"
    ? POSTS[pathname]
    : undefined;
  const isModel = pathname.startsWith("/v1/models/");
  if (post === undefined && !isModel && !PATHS.includes(pathname)) {
    throw new ApiError(404, `There is no ${pathname}: there is ${PATHS.join(", ")}`);
  }
  checkMethod(request, { pathname, methods: post === undefined ? ["GET", "HEAD"] : ["POST"] });
  if (post !== undefined) {
    const body = await readFields(request, options);
    const call = openCall([request.signal, ending]);
    const response = await post(service, body, call).catch((error) => {
      call.cancel();
      throw error;
    });
    // A stream ends its call itself.
    if (response.headers.get("Content-Type") === "application/json") call.cancel();
    return response;
  }
  if (pathname === "/health") return jsonResponse({ status: "ok" });
  if (pathname === "/metrics") {
    const headers = { "Content-Type": "text/plain; version=0.0.4; charset=utf-8" };
    return new Response(service.metrics.format(service.admission), { headers });
  }
  const model = modelCard(service);
  if (!isModel) return jsonResponse({ object: "list", data: [model] });
  const name = decoded(pathname.slice("/v1/models/".length));
  if (name === model.id) return jsonResponse(model);
  throw new ApiError(404, `The model '${name}' does not exist`, { code: "model_not_found" });
}

/** @throws {ApiError} If a path does not take a request's method. */
function checkMethod(
  { method }: Request,
  { pathname, methods }: { pathname: string; methods: readonly string[] },
): void {
  if (methods.includes(method)) return;
  const text = `${pathname} takes ${methods.join(" and ")}: current value is ${method}`;
  throw new ApiError(405, text, { headers: { Allow: methods.join(", ") } });
}

/** A part of a path; as it is where its escapes are none. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

function modelCard({ modelName, setup }: Service) {
  const { maxPositions } = setup.model.config;
  return {
    id: modelName,
    object: "model",
    created: 0,
    owned_by: "starx",
    max_model_len: maxPositions,
  };
}

/** @throws {ApiError} If the body is too long, or no JSON object. */
async function readFields(request: Request, options: { maxBodyBytes: number }): Promise<Body> {
  // A page in a browser cannot send this type to another site without being allowed to.
  const type = request.headers.get("Content-Type") ?? "";
  if (!/^application\/json\b/i.test(type)) {
    throw new ApiError(
      415,
      `The Content-Type must be application/json: current value is '${type}'`,
    );
  }
  const text = await readText(request, options);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw new ApiError(400, `The body must be JSON: ${apiErrorOf(error).message}`);
  }
  if (!isJsonObject(body)) throw new ApiError(400, "The body must be a JSON object");
  return Object.fromEntries(Object.entries(body).filter(([, value]) => value !== null));
}

async function readText(request: Request, options: { maxBodyBytes: number }): Promise<string> {
  const { maxBodyBytes } = options;
  const decoder = new TextDecoder();
  let bytes = 0;
  let text = "";
  for await (const part of request.body ?? []) {
    bytes += part.length;
    if (bytes > maxBodyBytes) {
      throw new ApiError(413, `The body must have at most ${maxBodyBytes} bytes (--max_body)`);
    }
    text += decoder.decode(part, { stream: true });
  }
  return text + decoder.decode();
}
