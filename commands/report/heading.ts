/**
 * What a report's page says of itself: whose scores it has, and what computed them.
 *
 * @module
 */
import type { Experiment } from "../results/experiment.ts";
import type { RunSession } from "../shared/run_record.ts";
import { VERSION } from "../shared/version.ts";
import { suiteOf } from "../suites/all.ts";
import { RULER } from "../suites/ruler.ts";
import type { Suite } from "../suites/suite.ts";

/** Commits, devices and experiments that are named one by one. */
const MOST_NAMED = 3;

/** The page's title. */
export function titleOf(experiments: readonly Experiment[]): string {
  const suites = suitesOf(tasksOf(experiments)).map(({ title }) => title).join(" and ");
  const names = experiments.map(({ name }) => name);
  return names.length <= MOST_NAMED
    ? `${suites}: ${names.join(", ")}`
    : `${suites}: ${names[0]} and ${names.length - 1} more`;
}

/**
 * Whose the scores are, in the possessive; RULER's where there are none.
 *
 * @param more Tasks of sweeps and whatever else is no experiment.
 */
export function sourceOf(experiments: readonly Experiment[], more: readonly string[]): string {
  const suites = suitesOf([...tasksOf(experiments), ...more]);
  return (suites.length === 0 ? [RULER] : suites).map(({ title, paper }) =>
    paper === undefined ? `${title}'s` : `${title}'s (${paper})`
  ).join(" and ");
}

function tasksOf(experiments: readonly Experiment[]): string[] {
  const tasks = experiments.flatMap(({ lengths }) => lengths.flatMap((length) => length.tasks));
  return tasks.map(({ task }) => task);
}

/** The suites of some tasks. A task of no suite is one's own, which `ruler` runs with RULER's. */
function suitesOf(tasks: readonly string[]): Suite[] {
  return [...new Set(tasks.map((task) => suiteOf(task) ?? RULER))];
}

/**
 * With what, when and where everything on the page was computed.
 *
 * @param more Sessions of sweeps, thresholds and whatever else is no experiment.
 */
export function leadOf(
  experiments: readonly Experiment[],
  more: readonly RunSession[],
): string {
  const records = experiments.flatMap(({ lengths }) =>
    lengths.flatMap(({ record }) => record ?? [])
  );
  const versions = [...new Set(records.map(({ version }) => version))];
  const sessions = [...records.flatMap(({ sessions = [] }) => sessions), ...more]
    .sort((a, b) => a.date.localeCompare(b.date));
  const commits = new Set(sessions.flatMap(({ commit }) => commit?.slice(0, 10) ?? []));
  const days = [...new Set(sessions.map(({ date }) => date.slice(0, 10)))];
  const devices = new Set(sessions.map(({ device }) => device));
  return [
    `StarX ${versions.length === 0 ? VERSION : listed(versions)}`,
    ...(commits.size === 0 ? [] : [`commit${commits.size > 1 ? "s" : ""} ${listed(commits)}`]),
    ...(days.length === 0
      ? []
      : [`${days.length > 1 ? `${days[0]} to ${days.at(-1)}` : days[0]} on ${listed(devices)}`]),
  ].join(", ");
}

/** `a`, `a; b`, or `a; b; c and 2 more`. */
function listed(values: Iterable<string>): string {
  const all = [...values];
  const rest = all.length - MOST_NAMED;
  return `${all.slice(0, MOST_NAMED).join("; ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
