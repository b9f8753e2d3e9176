#!/usr/bin/env bash
# The first call to a GPU machine: is everything right, and where does the time of a scan go?
#
#   bash tools/gpu/first.sh OUT      in the project's root; build/bundle is carried along
#
# LIMIT (290) seconds are used, to which the start of the machine comes (docs/gpu.md).
cd "$(dirname "$0")/../.." || exit 2
LIMIT=${LIMIT:-290}
source tools/gpu/steps.sh

prepare build/bundle/wheels
step smoke 75 "$python" tools/gpu/smoke.py --json "$OUT/smoke.json"
step student 45 "$python" tools/gpu/profile_student.py --json "$OUT/student.json"
step variants 40 "$python" benchmarks/record.py --name variants --results "$OUT" \
  -k "cuda and 64-fp16 and not general" benchmarks/bench_sparse_conv_variants.py
step counters 45 "$(command -v ncu || echo /usr/local/cuda/bin/ncu)" --profile-from-start off \
  --clock-control none --csv --page details --log-file "$OUT/counters.csv" \
  --section SpeedOfLight --section ComputeWorkloadAnalysis --section MemoryWorkloadAnalysis \
  --section WarpStateStats --section SchedulerStats --section InstructionStats \
  --section LaunchStats --section Occupancy \
  "$python" tools/gpu/counted_kernels.py
step test 200 "$python" tools/gpu/run_tests.py
cp .pytest_cache/v/cache/lastfailed "$OUT/failed.json" 2> /dev/null
summary
