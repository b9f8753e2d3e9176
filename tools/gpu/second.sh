#!/usr/bin/env bash
# The second call to a GPU machine: what failed in the first, the sanitizer's tools, and figures.
#
#   bash tools/gpu/second.sh OUT     in the project's root; build/bundle and build/bundle-peers are
#                                    carried along, failed.json of the first call in build/bundle
#
# LIMIT (320) seconds are used, to which the start of the machine comes (docs/gpu.md).
cd "$(dirname "$0")/../.." || exit 2
LIMIT=${LIMIT:-320}
source tools/gpu/steps.sh

# One scan in half precision. Left out for a longer run: what is in plain torch, maps that are rebuilt,
# and libraries that tune for minutes.
files=(benchmarks/bench_{limits,sparse_conv,kernel_map,voxelize,end_to_end}.py)
chosen="cuda and (limits or b1 or points_to_labels) and not (fp32 or tf32 or bf16)"
chosen="$chosen and not (reference or torch_ or with_new_map or triton or ocnn or warpconvnet)"

prepare build/bundle-peers
if [ -f build/bundle/failed.json ]; then
  mkdir -p .pytest_cache/v/cache && cp build/bundle/failed.json .pytest_cache/v/cache/lastfailed
  step failures 60 "$python" tools/gpu/run_tests.py --last-failed --last-failed-no-failures none
fi
for tool in memcheck racecheck synccheck; do
  step $tool 70 "$python" tools/gpu/smoke.py --scan none --under $tool --timeout 60 \
    --json "$OUT/$tool.json"
done
step student 45 "$python" tools/gpu/profile_student.py --json "$OUT/student.json"
step fp16 150 "$python" benchmarks/record.py --name fp16 --results "$OUT" -k "$chosen" \
  "${files[@]}"
summary
