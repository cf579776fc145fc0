#!/usr/bin/env bash
# With OMP_PROC_BIND or OMP_PLACES set, loading libgomp pins the calling thread to one processor, and
# all threads and programs that it starts later.
#
# Versions: Debian's libgomp1 12.2.0 and python3 3.11.2; needs two processors.
# Behaviour: the library binds the thread that loads it, before any OpenMP code runs, since that is to
# be the first thread of a team. Affinity is inherited: other pools of the process, and what it
# starts, share that one processor. OpenMP's own threads are spread as asked.
# A good engineer would guess: OMP_PROC_BIND moves the threads of OpenMP loops, from the first loop
# on.
# Output seen: OMP_PROC_BIND=true, =spread and OMP_PLACES=threads each leave 1 processor to Python's
# main thread, to a new thread and to a child once libgomp is loaded; OMP_PROC_BIND=false leaves all.
# Why it matters: clusters export these for hybrid jobs. A runtime with its own pool that loads any
# library built with -fopenmp (by import or by a foreign function) computes on one core, and nothing
# says so; counts by the hardware still name all of them.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export DEBIAN_FRONTEND=noninteractive
installed() {
  local found
  found=$(dpkg-query -W -f='${Status} ${Version}' "$1" 2>/dev/null) || return 1
  [[ "$found" == "install ok installed "*"$2-"* ]]
}
need() {
  get() { apt-get install -qq -y --no-install-recommends "$1" >/dev/null 2>&1; }
  installed "$@" || get "$1" || { apt-get update -qq && get "$1"; } || true
  installed "$@" || { echo "No $1 $2 here" >&2; exit 1; }
}
need libgomp1 12.2.0
cat >check.py <<'PY'
import ctypes
import os
import subprocess
import sys
import threading


def processors():
    return len(os.sched_getaffinity(0))


def told(count):
    return "one" if count == 1 else "all" if count == everything else str(count)


everything = processors()
if everything < 2:
    sys.exit("Needs two processors")
ctypes.CDLL("libgomp.so.1")
found = [processors()]
thread = threading.Thread(target=lambda: found.append(processors()))
thread.start()
thread.join()
ask = "import os; print(len(os.sched_getaffinity(0)))"
found.append(int(subprocess.run([sys.executable, "-c", ask], capture_output=True, check=True).stdout))
print(*("%s %s" % pair for pair in zip(("main", "thread", "child"), map(told, found))), sep=", ")
PY
unset OMP_PROC_BIND OMP_PLACES GOMP_CPU_AFFINITY
for setting in OMP_PROC_BIND=true OMP_PROC_BIND=spread OMP_PLACES=threads OMP_PROC_BIND=false; do
  echo "$setting: $(env "$setting" /usr/bin/python3 check.py)"
done >seen
cat seen
cat >expected <<'TEXT'
OMP_PROC_BIND=true: main one, thread one, child one
OMP_PROC_BIND=spread: main one, thread one, child one
OMP_PLACES=threads: main one, thread one, child one
OMP_PROC_BIND=false: main all, thread all, child all
TEXT
cmp -s seen expected || { echo "Changed: what loading libgomp does to affinity" >&2; exit 1; }
