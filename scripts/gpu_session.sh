#!/usr/bin/env bash
# Everything that is worth knowing of a machine with an NVIDIA GPU, in one go: what was found, the
# kernels' tests, the reference prompts, the benchmarks, and a table of it all at the end.
#
#   scripts/gpu_session.sh OUT [SECTION...]
#
# OUT takes at most 8 files. Sections, by default all but the last five, in this order:
#   doctor reference tests bench attention long kernels weights sanitize peers hf families
# DENO names the executable, DENO_DIR its cache (nothing is fetched if it is complete), SHAPE the
# shape of the benchmarks, LIMIT_S the seconds that all of it may take. Each section has a time limit
# of its own, too, and a failure stops nothing.
set -uo pipefail
cd "$(dirname "$0")/.."

out=${1:?usage: scripts/gpu_session.sh OUT [SECTION...]}
shift
sections=("$@")
[[ ${#sections[@]} -gt 0 ]] || sections=(doctor reference tests bench attention long kernels)
deno=${DENO:-deno}
device=cuda
shape=${SHAPE:-llama-3.1-8b}
total=${LIMIT_S:-3600}
# shellcheck source=scripts/session_parts.sh
source scripts/session_parts.sh

# bench NAME SECONDS FLAGS...: a line of JSON per mode, with the commit and the part's name.
bench() {
  local name=$1 limit=$2
  shift 2
  : >"$work/details.jsonl"
  part "$name" "$limit" bench.txt "$deno" run --no-prompt -A cli.ts bench --device "$device" \
    --shape "$shape" --json_path "$work/details.jsonl" "$@"
  sed "s/^{/{\"commit\":\"$commit\",\"part\":\"$name\",/" "$work/details.jsonl" >>"$out/bench.jsonl"
}

run_section() {
  case $1 in
    doctor) part doctor 20 doctor.txt "$deno" run --no-prompt -A cli.ts doctor ;;
    reference)
      part reference 80 reference.txt "$deno" run -A scripts/check_reference.ts --device cuda
      part "reference, 5 at once" 80 reference.txt "$deno" run -A scripts/check_reference.ts \
        --device cuda --batch 5 --alone
      ;;
    tests) part tests 120 tests.txt "$deno" task test:gpu --no-check ;;
    bench)
      bench "dense 8k" 25 -a dense -l 8192 --decode 8192 --repeats 3
      bench "dense 32k" 25 -a dense -l 32768 --repeats 2
      bench "star, xattn 32k" 30 -a star xattn -l 32768 --density 0.1 -bs 8192 --repeats 2
      ;;
    long)
      bench "star 128k" 40 -a star -l 131072 -bs 16384 --repeats 1
      bench "xattn 128k" 40 -a xattn -l 131072 --density 0.1 --decode 131072 --repeats 1
      bench "dense 128k" 60 -a dense -l 131072 --repeats 1
      ;;
    attention)
      part attention 90 attention.txt "$deno" run -A scripts/bench_attention.ts \
        --json_path "$out/attention.jsonl"
      ;;
    kernels)
      bench "ops 32k" 60 --kernels -l 32768 --density 0.1
      bench "ops 128k" 60 --kernels -l 131072 --density 0.1
      ;;
    weights)
      part "fp8 tests" 120 weights.txt "$deno" test --no-prompt --no-check -A --filter "on a GPU" \
        tests/kernels/quantize_rows_test.ts tests/kernels/matmul_test.ts \
        tests/kernels/matmul_rows_test.ts tests/gpu/fp8_test.ts
      part "fp8 products" 90 weights.txt "$deno" run -A scripts/bench_weights.ts \
        --json_path "$out/weights.jsonl"
      for weights in bf16 fp8; do
        bench "dense 8k, weights $weights" 40 -a dense -l 8192 --decode 8192 --repeats 3 \
          --weights "$weights"
      done
      bench "xattn 128k, weights fp8" 60 -a xattn -l 131072 --density 0.1 --decode 131072 \
        --repeats 1 --weights fp8
      ;;
    sanitize) part sanitize 280 sanitize.txt "$deno" task test:sanitize ;;
    peers)
      part peers 200 peers.jsonl python3 scripts/bench_gpu_peers.py \
        --lengths 8192 32768 131072 --decode 8192 131072
      ;;
    hf) part transformers 150 peers.jsonl python3 scripts/compare_hf.py --deno "$deno" ;;
    families) part families 200 families.txt python3 scripts/compare_families.py --deno "$deno" ;;
    *) echo "$1: no such section" | tee -a "$summary" ;;
  esac
}

for name in "${sections[@]}"; do run_section "$name"; done

{
  echo
  grep -hE '^(ok|!!)  GPU' -A 4 "$out/doctor.txt" 2>/dev/null
  grep -hE 'of the exact modes differ|  differs$' "$out/reference.txt" 2>/dev/null
  grep -hE '[0-9]+ passed|\.\.\. FAILED' "$out/tests.txt" 2>/dev/null | tail -n 20
  grep -hE '[0-9]+ passed|\.\.\. FAILED|SUMMARY|^(memcheck|racecheck|synccheck):' "$out/sanitize.txt" 2>/dev/null
  grep -hE 'random weights|^ +(prefill|decode at|[0-9])|peak memory|^(product|decode|rms|rope|swiglu|attention|antidiagonal|select|argmax|op) ' \
    "$out/bench.txt" 2>/dev/null
  tail -n 40 "$out/attention.txt" 2>/dev/null
  tail -n 40 "$out/peers.jsonl" 2>/dev/null
  grep -E '^[|]|transformers' "$out/families.txt" 2>/dev/null
} | tee -a "$summary"
