/**
 * The `serve` command: a model behind OpenAI's interface.
 *
 * @module
 */
import { checkPlan, type PlanOptions } from "../../lib/attention/plan.ts";
import { UsageError } from "../../lib/errors.ts";
import { loadModel, type Model } from "../../lib/engine/load_model.ts";
import type { LoadOptions } from "../../lib/engine/model_options.ts";
import { type ChatRenderer, findChatTemplate } from "../../lib/model/chat_template.ts";
import { modelNameOf } from "../../lib/model/model_folder.ts";
import { TokenBytes } from "../../lib/model/token_bytes.ts";
import { readTokenizerFile } from "../../lib/model/tokenizer_file.ts";
import { openTokenizerThread } from "../../lib/model/tokenizer_thread.ts";
import type { CommandContext } from "../infer/infer.ts";
import { ModelSession, usableProcesses } from "../shared/model_session.ts";
import { checkSelects } from "../shared/run_options.ts";
import { Admission } from "./admission.ts";
import { Metrics } from "./metrics.ts";
import { type ServerOptions, startServer } from "./server.ts";
import { openService, type Service } from "./service.ts";
import type { BytesOf } from "./token_texts.ts";

/** Limits of what is asked. */
export interface ServiceOptions {
  readonly plan: PlanOptions;
  /** What clients call the model. */
  readonly modelName: string;
  /** Prompts that wait, at most. */
  readonly queue: number;
  /** Tokens of an answer, at most. */
  readonly maxTokens: number;
  /** Tokens at the end of a prompt that are its query. */
  readonly queryTokens: number;
}

/** Options of the command. */
export interface ServeOptions extends Omit<ServiceOptions, "modelName">, ServerOptions {
  readonly modelPath: string;
  /** @default The folder's name. */
  readonly modelName?: string | undefined;
  readonly processCount: number;
  readonly load: Omit<LoadOptions, "processCount" | "tokenizer" | "onWarning">;
}

const LOOPBACK = /^(localhost|127(\.\d+){3}|::1|\[::1\])$/;

/**
 * Serves until it is interrupted.
 *
 * @throws {UsageError} If everybody could reach it and no key is wanted.
 * @throws {WorkerError} If a worker process is lost.
 */
export async function runServe(options: ServeOptions, context: CommandContext): Promise<void> {
  const { screen, cleanup } = context;
  const { modelPath: folder, hostname, apiKey, load } = options;
  const plan = checkPlan(options.plan);
  checkSelects([plan], load);
  if (!LOOPBACK.test(hostname) && apiKey === undefined) {
    throw new UsageError(
      `--api_key is required as --host is not of this machine alone: current value is ${hostname}`,
    );
  }
  const asked = context.launchedRanks ?? options.processCount;
  const processCount = usableProcesses(plan, asked, { screen });
  // What is damaged is told before anything is loaded; that there is none, when one is asked for.
  const chatTemplate = await findChatTemplate(folder);
  using tokenizer = await openTokenizerThread(folder);
  await using session = new ModelSession({
    folder,
    load: { ...options.plan, ...load, tokenizer },
    screen,
    cleanup,
    loadModel: context.loadModel ?? loadModel,
  });
  const model = await session.open({ processCount });
  const modelName = options.modelName ?? modelNameOf(folder);
  const service = await serviceOf(model, { ...options, modelName, folder, chatTemplate });
  if (chatTemplate === undefined) screen.log("No chat template: /v1/completions only");
  const server = await startServer(service, options);
  using _guard = cleanup.onInterrupt(() => server.close());
  const { places, capacity } = service.admission;
  screen.log(
    `Serving ${modelName} on http://${hostname}:${server.port}/v1, ${places} prompts at once, ` +
      `${capacity - places} may wait`,
  );
  await server.failed;
}

/** A model's service. @param options `chatTemplate`: that of its folder. */
export async function serviceOf(
  model: Model,
  options: ServiceOptions & { folder: string; chatTemplate: ChatRenderer | undefined },
): Promise<Service> {
  const { folder, chatTemplate, modelName, queue, maxTokens, queryTokens } = options;
  const { cut, selection } = checkPlan(options.plan);
  const isDense = cut.kind === "whole" && selection === undefined;
  const { eosTokenIds: endIds } = model.config;
  return openService({
    setup: { model, isDense, queryTokens, maxTokens },
    modelName,
    endIds,
    chatTemplate,
    chatEndIds: [...new Set([...endIds, ...await chatEnds(chatTemplate, model)])],
    bytesOf: bytesIn(folder),
    admission: new Admission({ places: model.batchSize, queue }),
    metrics: new Metrics(),
  });
}

/** Reads the vocabulary when the first token is asked about. */
function bytesIn(folder: string): BytesOf {
  let bytes: Promise<TokenBytes> | undefined;
  return async (id) => {
    bytes ??= readTokenizerFile(folder).then((file) => new TokenBytes(file));
    return (await bytes).bytesOf(id);
  };
}

async function chatEnds(template: ChatRenderer | undefined, model: Model): Promise<number[]> {
  const ids = [...template?.endIds ?? []];
  for (const token of template?.endTokens ?? []) {
    const [id, ...more] = await model.tokenizer.encode(token);
    if (id !== undefined && more.length === 0) ids.push(id);
  }
  return ids;
}
