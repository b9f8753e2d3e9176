"""Arguments that don't fit get an error that names the op: tests/ops/fuzz.py has the calls."""

import os
import subprocess
import sys
from pathlib import Path

FUZZ = Path(__file__).with_name("fuzz.py")
CALLS = int(os.environ.get("ELITE_FUZZ_CALLS", "4000"))


def test_no_call_crashes_or_puzzles() -> None:
    command = [sys.executable, str(FUZZ), "0", str(CALLS)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = done.stderr[-3000:]
    assert done.returncode == 0, f"{done.stdout}\n{last}\nexit status {done.returncode}"
    assert f"{CALLS} calls" in done.stdout
