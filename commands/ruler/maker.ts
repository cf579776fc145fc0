/**
 * Makes the data of RULER's tasks for the `ruler` command.
 *
 * @module
 */
import { makeData } from "./make_data.ts";
import { taskNamed } from "./tasks_file.ts";
import type { DataMaker, OpenDataMaker } from "./data.ts";

/** Opens the generators; what a task needs is read when it is made. */
export function openDataMaker(
  options: Parameters<OpenDataMaker>[0],
): ReturnType<OpenDataMaker> {
  const maker: DataMaker = {
    setup: (task) => ({
      tokensToGenerate: taskNamed(task, options).tokensToGenerate,
      stopWords: options.template.stopWords,
    }),
    make: async (request) =>
      await makeData({
        ...request,
        ...options,
        chunkIndex: 0,
        chunkCount: 1,
        removeNewlineTab: false,
      }),
  };
  return Promise.resolve(maker);
}
