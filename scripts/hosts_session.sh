#!/usr/bin/env bash
# What several ranks promise, on a machine with G GPUs: what was found, the reference prompts over
# NCCL, lost ranks, and the benchmarks on 1, 2, 4, ... G of its GPUs, one of them being the base.
#
#   scripts/hosts_session.sh OUT [SECTION...]
#
# OUT takes at most 7 files; OUT/hosts.jsonl has a line for each run, which goes to bench/ as it is. A
# run that the plan of memory refuses has its line, too, with what was refused. Sections, the first
# two lines by default and in this order:
#
#   found     doctor, the links between the GPUs, what an exchange costs
#   decode    a token after TOKENS / 16 tokens
#   star      prefill of TOKENS, in blocks of an eighth, and a token after them; anchor sent or not
#   ring      the same by the ring, beside dense on one GPU
#   layers    dense and star in one process, whose layers lie on several GPUs
#   reference the reference prompts with 1 rank and with G
#   loss      transcripts of runs that lose a rank
#   replicas  as many copies as GPUs, each with 16 prompts of TOKENS / 16 at once
#   long      star, 4 * TOKENS in blocks of a quarter
#   million   star, 8 * TOKENS in blocks of a sixteenth
#   ringlong  ring, 4 * TOKENS, beside dense on one GPU
#
# Runs on all GPUs come first; those on fewer go side by side, each with GPUs of its own, with ALONE=1 one
# after the other. GPUS is the number of GPUs or, with DEVICE=cpu, of processes, TOKENS the
# context, SHAPE that of the benchmarks, DENO the executable, DENO_DIR its cache (loss needs the
# tokenizer's package in it), MODEL the folder that replicas load, which is made if there is none,
# LIMIT_S the seconds that all of it may take. Each part has a time limit of its own, too, PATIENCE times
# as long on a slow machine, and a failure stops nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: scripts/hosts_session.sh OUT [SECTION...]}
shift
sections=("$@")
[[ ${#sections[@]} -gt 0 ]] || sections=(found decode star ring layers reference loss replicas)
deno=${DENO:-deno}
device=${DEVICE:-cuda}
shape=${SHAPE:-llama-3.1-8b}
tokens=${TOKENS:-131072}
total=${LIMIT_S:-570}
size=${GPUS:-$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')}
if [[ ! $size =~ ^[1-9][0-9]*$ ]]; then
  echo "no GPUs were found: GPUS must say how many, current value is '$size'" >&2
  exit 2
fi
# Multicast over NVLink can leave GPUs that others share in a bad state.
export NCCL_NVLS_ENABLE=${NCCL_NVLS_ENABLE:-0}
# shellcheck source=scripts/session_parts.sh
source scripts/session_parts.sh

# 1, 2, 4, ... and all.
counts=()
for ((n = 1; n < size; n *= 2)); do counts+=("$n"); done
counts+=("$size")
several=("${counts[@]:1}")

# GPUs that no run has; of each run its process, its GPUs and the folder of its output; runs that wait.
free=($(seq 0 $((size - 1))))
running=()
waiting=()
runs=0

# reap: takes back the GPUs of runs that have ended, and their output.
reap() {
  local entry pid gpus folder left=()
  for entry in "${running[@]}"; do
    IFS=: read -r pid gpus folder <<<"$entry"
    if kill -0 "$pid" 2>/dev/null; then
      left+=("$entry")
      continue
    fi
    free+=(${gpus//,/ })
    cat "$folder/bench.txt" >>"$out/bench.txt"
    cat "$folder/hosts.jsonl" >>"$out/hosts.jsonl"
  done
  running=("${left[@]}")
  # Neighbours, if there are any.
  mapfile -t free < <(printf '%s\n' "${free[@]}" | sort -n | grep .)
}

# start COUNT NAME SECONDS COMMAND...: a run, as soon as COUNT GPUs are free for it alone.
start() {
  local count=$1 folder gpus
  # Processes on CPUs share the cores.
  local needed=$count
  [[ $device == cuda && ${ALONE:-0} != 1 ]] || needed=$size
  while reap && [[ ${#free[@]} -lt $needed ]]; do sleep 0.2; done
  folder=$work/run$((++runs))
  mkdir "$folder"
  gpus=$(IFS=, && echo "${free[*]:0:count}")
  free=("${free[@]:count}")
  (
    [[ $device != cuda ]] || export CUDA_VISIBLE_DEVICES=$gpus
    record "$folder" "${@:2}"
  ) &
  running+=("$!:$gpus:$folder")
}

# on COUNT NAME SECONDS COMMAND...: a run on COUNT GPUs: at once if it needs all, else side by side with
# others when somebody settles. The command's lines of JSON get the commit, the date and the name.
on() {
  if [[ $1 -eq $size ]]; then start "$@"; else waiting+=("$(printf '%q ' "$@")"); fi
}

# settle: runs what waits, and waits for all.
settle() {
  local line
  for line in "${waiting[@]}"; do eval "start $line"; done
  waiting=()
  while reap && [[ ${#running[@]} -gt 0 ]]; do sleep 0.2; done
}

# record FOLDER NAME SECONDS COMMAND...: as `part`; LINES in the command stands for a file of lines of JSON.
record() {
  local folder=$1 name=$2 limit=$3 head refusal
  shift 3
  : >"$folder/hosts.jsonl"
  : >"$folder/lines"
  (
    out=$folder
    part "$name" "$limit" bench.txt "${@/LINES/$folder/lines}"
  )
  head="\"commit\":\"$commit\",\"date\":\"$(date -u +%F)\",\"gpus\":$size,\"part\":\"$name\","
  sed "s/^{/{$head/" "$folder/lines" >>"$folder/hosts.jsonl"
  refusal=$(sed -n 's/^error: \(Cannot run [0-9]* tokens on .*\)/\1/p' "$folder/bench.txt" | head -1)
  [[ -z $refusal ]] || echo "{${head}\"refused\":\"${refusal//\"/\'}\"}" >>"$folder/hosts.jsonl"
}

# timed COUNT NAME SECONDS FLAGS...: a bench on GPUs of its own; what is in $with is set for it.
with=()
timed() {
  on "$1" "$2" "$3" env "${with[@]}" "$deno" run --no-prompt -A cli.ts bench --device "$device" --shape "$shape" \
    --json_path LINES "${@:4}"
}

# lose PHASE RANK NAME FLAGS...: the transcript of a run that loses a rank.
lose() {
  local phase=$1 rank=$2 name=$3
  shift 3
  part "$name: rank $rank killed, phase $phase" 60 loss.txt "$deno" run --no-prompt -A \
    scripts/lose_rank.ts --device "$device" --phase "$phase" --rank "$rank" --ranks "$size" \
    --output "$work/lost-$name-$phase" --patience $((60 * ${PATIENCE:-1})) "$@"
}

# The folder of the model that replicas load.
model_folder() {
  [[ $device == cuda || -n ${MODEL:-} ]] || MODEL=models/starx-tiny
  MODEL=${MODEL:-$work/model}
  [[ -e $MODEL/config.json ]] || part "random weights" 150 bench.txt "$deno" run --no-prompt -A \
    scripts/make_model.ts --output "$MODEL" --shape "$shape" --shards 8 --tokenizer models/starx-tiny
}

run_section() {
  local n short=$((tokens / 16)) block=$((tokens / 8))
  # These are alone on the machine.
  [[ ! $1 =~ ^(found|reference|loss|replicas)$ ]] || settle
  case $1 in
    found)
      nvidia-smi topo -m >"$out/topology.txt" 2>&1
      part doctor 30 doctor.txt "$deno" run --no-prompt -A cli.ts doctor
      for n in "${several[@]}"; do
        on "$n" "exchange, $n" 45 "$deno" run --no-prompt -A scripts/time_exchange.ts \
          --device "$device" --ranks "$n" --tokens "$tokens" --json_path LINES
      done
      ;;
    decode)
      # Blocks of an eighth of the context, so that each process holds its share.
      for n in "${counts[@]}"; do
        timed "$n" "decode, $n" 45 -np "$n" -a star -l "$short" --decode "$short" \
          -bs $((short / 8)) --repeats 2
      done
      ;;
    star)
      for n in "${counts[@]}"; do
        timed "$n" "star, $n" 75 -np "$n" -a star -l "$tokens" --decode "$tokens" -bs "$block" \
          --repeats 2
      done
      with=(STARX_ANCHOR_STREAM=off)
      for n in "${several[@]}"; do
        timed "$n" "star, anchor everywhere, $n" 60 -np "$n" -a star -l "$tokens" -bs "$block" \
          --repeats 2
      done
      with=()
      ;;
    ring)
      timed 1 "dense, 1" 75 -a dense -l "$tokens" --decode "$tokens" --repeats 1
      for n in "${several[@]}"; do
        timed "$n" "ring, $n" 75 -np "$n" -a ring -l "$tokens" --decode "$tokens" --repeats 2
      done
      ;;
    layers)
      if [[ $device != cuda ]]; then
        echo "layers: needs GPUs" | tee -a "$summary"
        return
      fi
      for n in "${several[@]}"; do
        timed "$n" "layers, $n" 75 --gpus_per_rank "$n" -a dense star -l "$tokens" \
          --decode "$short" -bs "$block" --repeats 2
      done
      ;;
    reference)
      part reference 150 reference.txt "$deno" run --no-prompt -A scripts/check_reference.ts \
        --device "$device" --ranks "1,$size" --alone
      part "reference, 5 at once" 90 reference.txt "$deno" run --no-prompt -A \
        scripts/check_reference.ts --device "$device" --ranks "$size" --batch 5 --prompts 2 --alone
      ;;
    loss)
      n=$((tokens < 16000 ? tokens : 16000))
      lose 1 $((size - 1)) ruler --tokens "$n"
      lose 2 $((size / 2)) ruler --tokens "$n"
      lose 1 $((size / 2)) bench --shape "$shape" --tokens "$tokens"
      lose 2 0 bench --shape "$shape" --tokens "$short"
      ;;
    replicas)
      model_folder
      on "$size" "replicas, $size" 170 "$deno" run --no-prompt -A scripts/bench_replicas.ts \
        --device "$device" --model_path "$MODEL" --replicas "$size" --length "$short" \
        --json_path LINES
      ;;
    long)
      # A fifth process would have no block.
      for n in "${counts[@]}"; do
        [[ $n -gt 4 ]] || timed "$n" "star long, $n" $((90 + 200 / n)) -np "$n" -a star \
          -l $((4 * tokens)) --decode $((4 * tokens)) -bs "$tokens" --repeats 1
      done
      ;;
    million)
      for n in "${counts[@]}"; do
        timed "$n" "star million, $n" $((60 + 280 / n)) -np "$n" -a star -l $((8 * tokens)) \
          --decode $((8 * tokens)) -bs $((tokens / 2)) --repeats 1
      done
      ;;
    ringlong)
      timed 1 "dense long, 1" 220 -a dense -l $((4 * tokens)) --repeats 1
      for n in "${several[@]}"; do
        timed "$n" "ring long, $n" $((60 + 200 / n)) -np "$n" -a ring -l $((4 * tokens)) --repeats 1
      done
      ;;
    *) echo "$1: no such section" | tee -a "$summary" ;;
  esac
}

for name in "${sections[@]}"; do run_section "$name"; done
settle

{
  echo
  grep -hE '^(ok|!!)  GPU' -A 4 "$out/doctor.txt" 2>/dev/null
  grep -hE '^(prompt|niah|vt|cwe|fwe|qa)|^on |modes differ$' "$out/reference.txt" 2>/dev/null
  grep -hE 'random weights|^ +(prefill|decode at|[0-9])|peak memory|^error|^\{' "$out/bench.txt" 2>/dev/null
  grep -hE '^(error|\{|rank |lose_rank)' "$out/loss.txt" 2>/dev/null
  nvidia-smi --query-compute-apps=pid,name,used_memory --format=csv 2>/dev/null
} | tee -a "$summary"
