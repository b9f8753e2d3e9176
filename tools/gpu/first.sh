#!/usr/bin/env bash
# The first call to a GPU machine: is everything right, and where does the time of a scan go?
#
#   bash tools/gpu/first.sh OUT      in the project's root; build/bundle is carried along
#
# LIMIT (200) seconds are used, to which the start of the machine comes (docs/gpu.md).
cd "$(dirname "$0")/../.." || exit 2
LIMIT=${LIMIT:-200}
source tools/gpu/steps.sh

prepare build/bundle/wheels
step smoke 75 "$python" tools/gpu/smoke.py --json "$OUT/smoke.json"
step student 45 "$python" tools/gpu/profile_student.py --json "$OUT/student.json"
step test 120 "$python" tools/gpu/run_tests.py
cp .pytest_cache/v/cache/lastfailed "$OUT/failed.json" 2> /dev/null
summary
