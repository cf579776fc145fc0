/**
 * The flags of `serve`, and what becomes of them.
 *
 * @module
 */
import { findModelFolder } from "../../lib/model/model_folder.ts";
import { defineCommand } from "../shared/command.ts";
import { ENGINE_FLAGS, engineOptions, MODE_HELP, MODES, planOf } from "../shared/engine_flags.ts";
import { choiceFlag, textFlag, wholeFlag } from "../shared/flags.ts";
import { BLOCK_FLAGS, MODEL_FLAG, PROCESSES_FLAG } from "../shared/run_flags.ts";

const MIB = 2 ** 20;

/** `serve`. */
export const SERVE = defineCommand({
  name: "serve",
  summary: "answer over HTTP, in OpenAI's form: completions, chats, log-probabilities",
  ranks: "first",
  flags: {
    model_path: MODEL_FLAG,
    model_name: textFlag({
      value: "NAME",
      help: "what clients call the model (default: its name in the cache, or its folder's)",
    }),
    attn_type: choiceFlag(MODES, { short: "-a", default: "dense", help: MODE_HELP }),
    ...BLOCK_FLAGS,
    query_tokens: wholeFlag({
      default: 512,
      min: 1,
      help: "tokens at the end of a prompt that are its query, which sees all of it; the rest is " +
        "the context (no difference in dense)",
    }),
    host: textFlag({
      default: "127.0.0.1",
      value: "ADDRESS",
      help: "where to listen; one that others can reach needs --api_key",
    }),
    port: wholeFlag({ default: 8000, max: 65535, help: "0 takes a free one" }),
    api_key: textFlag({ value: "KEY", help: "what clients have to send as a bearer token" }),
    max_queue: wholeFlag({
      default: 256,
      max: 65536,
      help: "prompts that may wait; further requests are answered with 429",
    }),
    max_tokens: wholeFlag({ default: 4096, min: 1, help: "tokens of an answer, at most" }),
    max_body: wholeFlag({
      default: 64,
      min: 1,
      max: 1024,
      value: "MIB",
      help: "size of a request, at most",
    }),
    nproc_per_node: PROCESSES_FLAG,
    ...ENGINE_FLAGS,
  },
  notes: [
    "Answers are greedy: a request for others is refused. docs/serve.md says what is taken, and " +
    "how other programs are pointed here.",
  ],
  run: async (flags, context) => {
    const { runServe } = await import("./serve.ts");
    const { dtype: precision, ...load } = engineOptions(flags);
    await runServe({
      modelPath: await findModelFolder(flags.model_path),
      modelName: flags.model_name,
      plan: planOf(flags),
      load: { ...load, precision },
      processCount: flags.nproc_per_node,
      queryTokens: flags.query_tokens,
      hostname: flags.host,
      port: flags.port,
      apiKey: flags.api_key,
      queue: flags.max_queue,
      maxTokens: flags.max_tokens,
      maxBodyBytes: flags.max_body * MIB,
    }, context);
  },
});
