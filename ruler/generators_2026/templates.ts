/**
 * The tasks and their texts as NVIDIA/RULER has them at c3f5e3b (`scripts/synthetic.yaml`,
 * `scripts/data/synthetic/constants.py`): those of the pinned version but for what stands here.
 *
 * @module
 */
import type { TaskSettings } from "../model.ts";
import { RULER_TASKS, type RulerTask } from "../tasks.ts";
import { TASK_TEMPLATES, type TaskTemplate } from "../templates.ts";

const { variable_tracking: tracking } = TASK_TEMPLATES;

/** The texts of each generator. */
export const TEMPLATES_2026: Readonly<Record<TaskSettings["generator"], TaskTemplate>> = {
  ...TASK_TEMPLATES,
  variable_tracking: {
    ...tracking,
    answerPrefix: tracking.answerPrefix.replace("assgined", "assigned"),
  },
};

/** The tasks; their texts say how many tokens a model generates, for fwe fewer than before. */
export const RULER_TASKS_2026: Readonly<Record<string, RulerTask>> = Object.fromEntries(
  Object.entries(RULER_TASKS).map(([name, { metric, settings: pinned }]) => {
    const settings: TaskSettings = pinned.generator === "common_words_extraction"
      ? { ...pinned, commonFrequency: 30, otherFrequency: 3 }
      : pinned;
    const { tokensToGenerate } = TEMPLATES_2026[settings.generator];
    return [name, { settings, tokensToGenerate, metric }];
  }),
);

/** How the question of a prompt begins, by what stands in the tasks' texts. */
const QUESTIONS: readonly string[] = [
  "What are all the special magic ",
  "What is the special magic ",
  "Question: Find all variables that are assigned the value ",
  "Question: What are the 10 most common words in the above list?",
  "Question: Do not provide any explanation. Please ignore the dots ",
  "Answer the question based on the given documents. Only give me the answer ",
];

/**
 * Cuts a prompt in front of its question, so that context and query are what they are in
 * NVIDIA/Star-Attention's data.
 *
 * @returns Undefined where the prompt has none of the tasks' questions behind a context.
 */
export function cutQuestion(input: string): { context: string; question: string } | undefined {
  const at = Math.max(...QUESTIONS.map((start) => input.lastIndexOf(start)));
  return at > 0 ? { context: input.slice(0, at), question: input.slice(at) } : undefined;
}
