# What the two calls to a GPU machine share; sourced by first.sh and second.sh.
#
# Every step has a time-out of its own, and one that fails leaves the rest to run. Its output goes to
# $OUT/$call.log as it comes, a line about how it ended to the screen and to $OUT/$call.txt. When
# $LIMIT seconds are over no step runs any more.

OUT=${1:?which folder takes the results?}
python=${GPU_PYTHON:-python3}
STEP_LIMIT=${STEP_LIMIT:-600} # seconds that no step may exceed, whatever its own time-out
call=$(basename "$0" .sh)
mkdir -p "$OUT" build
OUT=$(cd "$OUT" && pwd)
export PYTHONPATH=$PWD/build/peers:$PWD:$PWD/benchmarks PYTHONUNBUFFERED=1
export ELITE_DATA=$PWD/build/data
ELITE_COMMIT=$(cat build/bundle/commit 2> /dev/null) && export ELITE_COMMIT

# step NAME SECONDS COMMAND...
step() {
  local name=$1 limit=$2 begin=$SECONDS status=0
  shift 2
  limit=$((limit < STEP_LIMIT ? limit : STEP_LIMIT))
  limit=$((limit < LIMIT - SECONDS ? limit : LIMIT - SECONDS))
  if ((limit <= 0)); then
    printf '%-10s         no time was left\n' "$name" | tee -a "$OUT/$call.txt"
    return 1
  fi
  echo "==== $name: $*" >> "$OUT/$call.log"
  # The first signal lets Python write what it has.
  timeout --signal=INT --kill-after=10 "$limit" "$@" >> "$OUT/$call.log" 2>&1 || status=$?
  case $status in
    0) outcome=done ;;
    124 | 137) outcome="cut after $limit s" ;;
    *) outcome="failed ($status)" ;;
  esac
  printf '%-10s %4d s  %s\n' "$name" $((SECONDS - begin)) "$outcome" | tee -a "$OUT/$call.txt"
  return $status
}

# prepare WHEELS: the extension, the scans, and the wheels of that folder.
prepare() {
  step link 60 "$python" tools/gpu/link.py ||
    ELITE_CUDA=1 TORCH_CUDA_ARCH_LIST=${TORCH_CUDA_ARCH_LIST:-9.0a} MAX_JOBS=$(nproc) \
      step build 150 "$python" setup.py build_ext --inplace
  step scans 30 "$python" -m tarfile --filter data -e build/bundle/scans.tar.xz build/data
  step wheels 60 "$python" benchmarks/unpack_wheels.py "$1" build/peers
}

# What the screen shows last.
summary() {
  tail -n 60 "$OUT/$call.log"
  cat "$OUT/$call.txt"
}
