/**
 * RULER's prompt texts, verbatim: they are data (NVIDIA/Star-Attention, `ruler/data/template.py` and
 * `ruler/data/synthetic/constants.py`), spelling mistakes included.
 *
 * @module
 */
import type { TaskSettings } from "./model.ts";

/** A model's prompt. */
export interface ModelTemplate {
  /** In front of the task, in the context. */
  readonly before: string;
  /** Behind it, in the query. */
  readonly after: string;
  /** A generated text is cut at the first of them. */
  readonly stopWords: readonly string[];
}

const BASE: ModelTemplate = { before: "", after: "", stopWords: ["<|end_of_text|>"] };
const LLAMA3_STOPS = ["<|end_of_text|>", "<|eom_id|>", "<|eot_id|>"];
const VICUNA: ModelTemplate = {
  before: "A chat between a curious user and an artificial intelligence assistant. The assistant " +
    "gives helpful, detailed, and polite answers to the user's questions. USER: ",
  after: " ASSISTANT:",
  stopWords: ["</s>"],
};
const PHI3: ModelTemplate = {
  before: "<|user|>\n",
  after: "<|end|>\n<|assistant|>\n",
  stopWords: ["<|end|>", "<|endoftext|>"],
};

/**
 * The models' prompts: `base` and `llama3` are those of NVIDIA/Star-Attention; `mistral`, `qwen`,
 * `phi3` and `vicuna` are this project's names; the others stand in NVIDIA/RULER's
 * `scripts/data/template.py`. Stop words are the models' own tokens that end an answer.
 */
export const MODEL_TEMPLATES: Readonly<Record<string, ModelTemplate>> = {
  base: BASE,
  llama3: {
    before: "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" +
      "You are a helpful assistant.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
    after: "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    stopWords: LLAMA3_STOPS,
  },
  "meta-llama3": {
    before: "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n",
    after: "<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    stopWords: LLAMA3_STOPS,
  },
  "meta-chat": { before: "[INST] ", after: " [/INST]", stopWords: ["</s>"] },
  mistral: { before: "<s>[INST] ", after: " [/INST]", stopWords: ["</s>"] },
  qwen: {
    before: "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n",
    after: "<|im_end|>\n<|im_start|>assistant\n",
    stopWords: ["<|im_end|>", "<|endoftext|>"],
  },
  phi3: PHI3,
  Phi3: PHI3,
  vicuna: VICUNA,
  "vicuna-chat": VICUNA,
  "lwm-chat": {
    before: "You are a helpful assistant. USER: ",
    after: " ASSISTANT: ",
    stopWords: ["</s>"],
  },
  "command-r-chat": {
    before: "<BOS_TOKEN><|START_OF_TURN_TOKEN|><|USER_TOKEN|>",
    after: "<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
    stopWords: ["<|END_OF_TURN_TOKEN|>"],
  },
  "chatglm-chat": {
    before: "[gMASK]sop<|user|> \n ",
    after: "<|assistant|> \n ",
    stopWords: ["<|user|>", "<|endoftext|>"],
  },
  RWKV: {
    before:
      "User: hi\n\nAssistant: Hi. I am your assistant and I will provide expert full response " +
      "in full details. Please feel free to ask any question and I will always answer it\n\nUser: ",
    after: "\n\nAssistant:",
    stopWords: ["\n\nUser"],
  },
  jamba: {
    before: "<|startoftext|><|bom|><|system|> <|eom|><|bom|><|user|> ",
    after: "<|eom|><|bom|><|assistant|>",
    stopWords: ["<|eom|>", "<|endoftext|>"],
  },
  "nemotron5-instruct": {
    before: "<SPECIAL_10>System\n\n<SPECIAL_11>User\n",
    after: "\n<SPECIAL_11>Assistant\n",
    stopWords: ["<SPECIAL_11>"],
  },
};

/** A task's texts; fields in braces. */
export interface TaskTemplate {
  readonly context: string;
  readonly query: string;
  readonly answerPrefix: string;
  /** Tokens that a sample leaves for its answer. */
  readonly tokensToGenerate: number;
}

const QA_RULE =
  "Answer the question based on the given documents. Only give me the answer and do " +
  "not output any other words.\n\n";

/** The texts of each generator. */
export const TASK_TEMPLATES: Readonly<Record<TaskSettings["generator"], TaskTemplate>> = {
  niah: {
    context: "Some special magic {type_needle_v} are hidden within the following text. Make sure " +
      "to memorize it. I will quiz you about the {type_needle_v} afterwards.\n{context}\n",
    query: "What are all the special magic {type_needle_v} for {query} mentioned in the provided " +
      "text?",
    answerPrefix:
      " The special magic {type_needle_v} for {query} mentioned in the provided text are",
    tokensToGenerate: 128,
  },
  variable_tracking: {
    context: "Memorize and track the chain(s) of variable assignment hidden in the following " +
      "text.\n\n{context}\n",
    query: "Question: Find all variables that are assigned the value {query} in the text above.",
    answerPrefix: " Answer: According to the chain(s) of variable assignment in the text above, " +
      "{num_v} variables are assgined the value {query}, they are: ",
    tokensToGenerate: 30,
  },
  common_words_extraction: {
    context: "Below is a numbered list of words. In these words, some appear more often than " +
      "others. Memorize the ones that appear most often.\n{context}\n",
    query: "Question: What are the 10 most common words in the above list?",
    answerPrefix: " Answer: The top 10 words that appear most often in the list are:",
    tokensToGenerate: 120,
  },
  freq_words_extraction: {
    context: "Read the following coded text and track the frequency of each coded word. Find the " +
      "three most frequently appeared coded words. {context}\n",
    query:
      "Question: Do not provide any explanation. Please ignore the dots '....'. What are the " +
      "three most frequently appeared words in the above coded text?",
    answerPrefix: " Answer: According to the coded text above, the three most frequently " +
      "appeared words are:",
    tokensToGenerate: 50,
  },
  qa: {
    context: `${QA_RULE}The following are given documents.\n\n{context}\n\n`,
    query: `${QA_RULE}Question: {query}`,
    answerPrefix: " Answer:",
    tokensToGenerate: 32,
  },
};
