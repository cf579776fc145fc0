# What the scripts that try a whole machine share: sourced by gpu_session.sh and hosts_session.sh, from
# the repository's root, after `out`, `deno` and `total` are set.
# shellcheck shell=bash
export NO_COLOR=1
mkdir -p "$out"
out=$(cd "$out" && pwd)
summary=$out/summary.txt
: >"$summary"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Libraries of a Python environment, where CUDA came with PyTorch.
if [[ -z ${STARX_CUDA:-} ]] && command -v python3 >/dev/null; then
  STARX_CUDA=$(python3 - <<'PY'
import glob, sys
folders = [f for path in sys.path for f in glob.glob(path + "/nvidia/*/lib")]
print(":".join(dict.fromkeys(folders)))
PY
  )
  export STARX_CUDA
fi

commit=${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}
gpus=$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null | sort | uniq -c)
echo "commit $commit; ${gpus:-no nvidia-smi}; $("$deno" --version | head -1)" | tee -a "$summary"

# part NAME SECONDS FILE COMMAND...: the output goes to the end of FILE, a line to the summary.
part() {
  local name=$1 limit=$((${PATIENCE:-1} * $2)) file=$3 start status
  shift 3
  local left=$((total - SECONDS))
  if [[ $left -lt 5 ]]; then
    printf '%-36s skipped, no time is left\n' "$name" | tee -a "$summary"
    return
  fi
  [[ $limit -le $left ]] || limit=$left
  start=$(date +%s.%N)
  echo "== $name: $*" >>"$out/$file"
  timeout --kill-after=5 "$limit" "$@" >>"$out/$file" 2>&1
  status=$?
  local seconds text=ok
  seconds=$(awk -v a="$start" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }')
  [[ $status -eq 0 ]] || text="exit $status"
  [[ $status -ne 124 && $status -ne 137 ]] || text="over its $limit s"
  printf '%-36s %8s s  %s\n' "$name" "$seconds" "$text" | tee -a "$summary"
}
