#!/usr/bin/env bash
# After clearQueue() of p-limit, or clear() of p-queue, a program ends in the middle with code 0.
#
# Versions: npm p-limit 7.3.3 and p-queue 9.3.5, under node.
# Behaviour: jobs that wait are dropped, and their promises are neither fulfilled nor rejected. An await of
# them never goes on; since nothing else is left to do, node ends, with 0 inside a function and with 13 at
# the top level of a module. rejectOnClear of p-limit rejects them instead.
# A good engineer would guess: a dropped job's promise is rejected, as that of an aborted fetch.
# Output seen: of main() with three jobs, cleared behind the first, neither the line after the await nor that
# of `finally` is printed; the exit code is 0 for both packages.
# Why it matters: a run over many samples clears its queue on the first error or on an interrupt. The report
# behind it is not written, temporary files stay, locks are not given back, and the job script reads success.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --prefix "$work" --loglevel=error --no-audit --no-fund --ignore-scripts \
  p-limit@7.3.3 p-queue@9.3.5 >/dev/null
cat >limit.mjs <<'JS'
import pLimit from "p-limit";
const limit = pLimit({ concurrency: 1, rejectOnClear: process.argv[2] === "reject" });
export const add = (job) => limit(job), clear = () => limit.clearQueue();
JS
cat >queue.mjs <<'JS'
import PQueue from "p-queue";
const queue = new PQueue({ concurrency: 1 });
export const add = (job) => queue.add(job), clear = () => queue.clear();
JS
cat >main.mjs <<'JS'
const { add, clear } = await import(`./${process.argv[3]}.mjs`);
const wait = () => new Promise((done) => setTimeout(done, 20));
async function main() {
  try {
    const jobs = [1, 2, 3].map(() => add(wait));
    await new Promise((done) => setTimeout(done, 5));
    clear();
    await Promise.all(jobs);
    console.log("all done");
  } catch (error) {
    console.log("an error");
  } finally {
    console.log("clean up");
  }
}
main();
JS
for tried in "plain limit" "plain queue" "reject limit"; do
  code=0
  said=$(node main.mjs $tried | tr '\n' ' ') || code=$?
  echo "$tried: code $code, said \"${said% }\""
done >seen
cat seen
cat >expected <<'TEXT'
plain limit: code 0, said ""
plain queue: code 0, said ""
reject limit: code 0, said "an error clean up"
TEXT
cmp -s seen expected || { echo "Changed: what clearing a queue does to its promises" >&2; exit 1; }
