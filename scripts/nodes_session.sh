#!/usr/bin/env bash
# What several ranks promise, on a machine with two GPUs, in about four minutes: what was found, the
# reference prompts over NCCL, lost ranks, and the benchmarks on one GPU and on two.
#
#   scripts/nodes_session.sh OUT [SECTION...]
#
# OUT takes at most 8 files. Sections, by default all but spread and extra, in this order:
#   doctor reference decode star ring loss
# spread runs one process whose layers lie on one GPU, then on two. extra adds dense on one GPU, and
# star and decoding without what docs/nodes.md can turn off. DENO names the executable, DENO_DIR its
# cache (loss needs the tokenizer's package in it), SHAPE the shape of the benchmarks, TOKENS the long
# context, BLOCK its blocks, DEVICE cuda or cpu, RANKS the processes, LIMIT_S the seconds that all of
# it may take. Each part has a time limit of its own, too, and a failure stops nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: scripts/nodes_session.sh OUT [SECTION...]}
shift
sections=("$@")
[[ ${#sections[@]} -gt 0 ]] || sections=(doctor reference decode star ring loss)
deno=${DENO:-deno}
shape=${SHAPE:-llama-3.1-8b}
tokens=${TOKENS:-131072}
block=${BLOCK:-16384}
device=${DEVICE:-cuda}
ranks=${RANKS:-2}
total=${LIMIT_S:-280}
# Multicast over NVLink can leave GPUs that others share in a bad state.
export NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}
# shellcheck source=scripts/session_parts.sh
source scripts/session_parts.sh
nvidia-smi topo -m >"$out/topology.txt" 2>&1

# lose PHASE RANK NAME FLAGS...: the transcript of a run that loses a rank.
lose() {
  local phase=$1 rank=$2 name=$3
  shift 3
  part "$name: rank $rank killed, phase $phase" 60 loss.txt "$deno" run --no-prompt -A \
    scripts/lose_rank.ts --device "$device" --phase "$phase" --rank "$rank" --ranks "$ranks" \
    --output "$work/lost-$name-$phase" "$@"
}

run_section() {
  case $1 in
    doctor) part doctor 20 doctor.txt "$deno" run --no-prompt -A cli.ts doctor ;;
    reference)
      part reference 70 reference.txt "$deno" run --no-prompt -A scripts/check_reference.ts \
        --device "$device" --ranks "1,$ranks" --alone
      part "reference, 5 at once" 70 reference.txt "$deno" run --no-prompt -A \
        scripts/check_reference.ts --device "$device" --ranks "1,$ranks" --batch 5 --alone
      ;;
    decode)
      # Blocks of an eighth of the context, so that each process holds its half.
      for np in 1 "$ranks"; do
        bench "decode 8k, $np" 30 -np "$np" -a star -l 8192 --decode 8192 -bs 1024 --repeats 2
      done
      ;;
    star)
      for np in 1 "$ranks"; do
        bench "star, $np" 60 -np "$np" -a star -l "$tokens" --decode "$tokens" -bs "$block" \
          --repeats 2
      done
      ;;
    ring) bench "ring, $ranks" 60 -np "$ranks" -a ring -l "$tokens" --repeats 1 ;;
    loss)
      lose 1 1 ruler
      lose 2 1 ruler
      lose 1 1 bench --shape "$shape" --tokens "$tokens"
      lose 2 0 bench --shape "$shape" --tokens 8192
      ;;
    spread)
      part "layers on two GPUs, tests" 90 spread.txt "$deno" test --no-prompt --allow-read \
        --allow-env --allow-ffi tests/gpu/spread_test.ts
      for count in 1 2; do
        bench "layers on $count GPUs" 60 --gpus_per_rank "$count" -a dense star -l "$tokens" \
          --decode 8192 -bs "$block" --repeats 2
      done
      ;;
    extra)
      export STARX_ANCHOR_STREAM=off STARX_RECORD_EXCHANGES=on
      bench "star, anchor everywhere, $ranks" 50 -np "$ranks" -a star \
        -l "$tokens" -bs "$block" --repeats 2
      export STARX_ANCHOR_STREAM=on STARX_RECORD_EXCHANGES=off
      bench "decode 8k, not recorded, $ranks" 30 -np "$ranks" -a star \
        -l 8192 --decode 8192 -bs 1024 --repeats 1
      unset STARX_ANCHOR_STREAM STARX_RECORD_EXCHANGES
      bench "dense, 1" 60 -a dense -l "$tokens" --repeats 1
      ;;
    *) echo "$1: no such section" | tee -a "$summary" ;;
  esac
}

for name in "${sections[@]}"; do run_section "$name"; done

{
  echo
  grep -hE '^(ok|!!)  GPU' -A 4 "$out/doctor.txt" 2>/dev/null
  grep -hE '^(prompt|niah|vt|cwe|fwe|qa)|^on |modes differ$' "$out/reference.txt" 2>/dev/null
  grep -hE 'random weights|^ +(prefill|decode at|[0-9])|peak memory|^error' "$out/bench.txt" 2>/dev/null
  grep -hE '^(ok|FAILED|error)| FAILED' "$out/spread.txt" 2>/dev/null
  grep -hE '^(error|\{|rank |lose_rank)' "$out/loss.txt" 2>/dev/null
  nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv 2>/dev/null
} | tee -a "$summary"
