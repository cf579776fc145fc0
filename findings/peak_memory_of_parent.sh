#!/usr/bin/env bash
# The peak memory of a small program is that of the process which started it.
#
# Versions: Linux's getrusage() through Debian's python3 3.11.2, and node's process.resourceUsage().
# Behaviour: between fork and exec a child has its parent's memory, and exec keeps that as the maximum of the
# new program. What a child reports of itself, and what a parent reads of its children, is at least the
# parent's size. VmHWM in /proc/self/status begins anew.
# A good engineer would guess: the maximum resident size of a program is that of the program.
# Output seen: a Python of 10 MB started by one of 400 MB says above 400 MB, RUSAGE_CHILDREN as well, and a
# child of node says so too; VmHWM is below 100.
# Why it matters: a harness holds a tokenizer, a document or results and starts a benchmark per length. All
# peaks below its own read as one flat line, and go up as the harness collects results; the same benchmark
# from a shell needs a tenth.
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
need python3-minimal 3.11.2
cat >small.py <<'PY'
import re
import resource

peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
own = int(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1]) // 1024
print("small" if peak < 100 else "above 400 MB" if peak > 400 else peak, end=", ")
print("VmHWM", "small" if own < 100 else own)
PY
cat >large.py <<'PY'
import resource
import subprocess
import sys

held = bytearray(400 << 20)
held[::4096] = b"1" * len(held[::4096])
said = subprocess.run([sys.executable, "small.py"], capture_output=True, text=True, check=True)
print("from a large Python:", said.stdout.strip())
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
print("its RUSAGE_CHILDREN:", "above 400 MB" if children > 400 else "small")
PY
cat >large.mjs <<'JS'
import { spawnSync } from "node:child_process";
const held = Buffer.alloc(400 << 20, 1);
const child = spawnSync(process.execPath, ["-p", "process.resourceUsage().maxRSS >> 10"]);
const peak = Number(child.stdout);
console.log(`from a large node: ${peak > held.length >> 20 ? "above 400 MB" : "small"}`);
JS
{
  echo "from a shell: $(/usr/bin/python3 small.py)"
  /usr/bin/python3 large.py
  node large.mjs
  peak=$(node -p 'process.resourceUsage().maxRSS >> 10')
  echo "node from a shell: $([[ "$peak" -lt 200 ]] && echo small || echo "$peak")"
} >seen
cat seen
cat >expected <<'TEXT'
from a shell: small, VmHWM small
from a large Python: above 400 MB, VmHWM small
its RUSAGE_CHILDREN: above 400 MB
from a large node: above 400 MB
node from a shell: small
TEXT
cmp -s seen expected || { echo "Changed: the peak memory of a child" >&2; exit 1; }
