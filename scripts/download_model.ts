/**
 * Fetches a model from the Hugging Face hub: `deno task model --name OWNER/MODEL`.
 *
 * The flags are those of `scripts/download_hf_model.py` of NVIDIA/Star-Attention.
 *
 * @module
 */
import { defineCommand } from "../commands/shared/command.ts";
import { textFlag } from "../commands/shared/flags.ts";
import { UsageError } from "../lib/errors.ts";
import { fetchedFolder, MODELS_FOLDER } from "../lib/model/model_folder.ts";
import { runScript } from "./download/entry.ts";
import { DEFAULT_PATIENCE } from "./download/http.ts";
import { downloadModel } from "./download/model.ts";
import { stderrProgress } from "./download/progress.ts";

const model = defineCommand({
  name: "model",
  call: "deno task model",
  summary: "fetch a model from the Hugging Face hub",
  flags: {
    name: textFlag({
      short: "-n",
      value: "OWNER/NAME",
      required: true,
      help: "the model's name on the hub, for example meta-llama/Llama-3.1-8B-Instruct",
    }),
    dir: textFlag({
      short: "-d",
      value: "FOLDER",
      default: MODELS_FOLDER,
      help: "takes the model as FOLDER/OWNER_NAME",
    }),
    token: textFlag({
      short: "-t",
      help: "a token of the hub, for models that are not open to all (default: HF_TOKEN)",
    }),
    revision: textFlag({ default: "main", help: "a branch, a tag or a commit" }),
    endpoint: textFlag({
      value: "URL",
      default: "https://huggingface.co",
      help: "the hub's address, or a mirror's",
    }),
  },
  notes: [
    "Fetched are configuration, tokenizer and weights in safetensors, not the same weights in " +
    "other forms. Files that are there with the known content are kept. A download that was " +
    "interrupted leaves NAME.part and is continued by the next run; config.json comes last.",
  ],
  run: async ({ name, dir, token, revision, endpoint }) => {
    if (!/^[\w][\w.-]*(\/[\w][\w.-]*)?$/.test(name)) {
      throw new UsageError(
        `--name: must be a model's name on the hub, as OWNER/NAME: current value is '${name}'`,
      );
    }
    if (!/^https?:\/\/\S+$/.test(endpoint)) {
      throw new UsageError(`--endpoint: must be an http address: current value is '${endpoint}'`);
    }
    const progress = stderrProgress();
    const variable = (Deno.env.get("HF_TOKEN") ?? "").trim();
    const isSafe = /^(https:\/\/|http:\/\/(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(\/|$))/.test(
      endpoint,
    );
    if (token === undefined && variable !== "" && !isSafe) {
      progress.note("HF_TOKEN is not sent, as --endpoint is not https (--token sends one anyway)");
    }
    const secret = (token ?? (isSafe ? variable : "")).trim();
    if (!/^[\x21-\x7e]*$/.test(secret)) {
      throw new UsageError("--token: must be visible ASCII characters, which this token is not");
    }
    const folder = fetchedFolder(name, dir.replace(/(?<=.)\/+$/, ""));
    await downloadModel(folder, {
      name,
      revision,
      endpoint: endpoint.replace(/\/+$/, ""),
      token: secret === "" ? undefined : secret,
      progress,
      patience: DEFAULT_PATIENCE,
    });
    progress.note(`${name} is in ${folder}: use it with --model_path ${folder}`);
  },
});

if (import.meta.main) Deno.exit(await runScript(model));
