"""Runs the tests that need a GPU, in parallel, with what the machine has of pytest's plugins.

    python tools/gpu/run_tests.py [--jobs 12] [--timeout 60] [OPTIONS OF PYTEST]

Only files that may have such tests are imported: each process would import all of them.
Where a test takes longer than the time-out, pytest-timeout ends its process, and the others go on.
Without that plugin faulthandler shows where it hangs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

__all__ = ["files_for_a_gpu", "options_of_pytest"]

TESTS = Path(__file__).parents[2] / "tests"


def files_for_a_gpu(folder: Path) -> list[str]:
    """Files that name the mark, or among a function's parameters a fixture that has it."""
    names = re.compile(r"mark\.gpu|def \w+\([^)]*\b(device|cuda)\b")
    found = [p for p in folder.rglob("test_*.py") if names.search(p.read_text("utf-8"))]
    # The ops first: what stands on them fails with them, and may find no time.
    return [str(p) for p in sorted(found, key=lambda p: ("ops" not in p.parts, p))]


def options_of_pytest(jobs: int, timeout: int) -> list[str]:
    """Each test has a line of its own as it ends: where the run is cut, the log has the rest."""
    options = ["-m", "gpu", "-v", "--tb=short", "--color=no"]
    if find_spec("xdist") and jobs > 1:
        options += ["-n", str(jobs)]
    if find_spec("pytest_timeout"):
        # By a thread: a signal is not heard while the host waits for a kernel that never ends.
        options += ["--timeout", str(timeout), "--timeout-method", "thread"]
    else:
        options += ["-o", f"faulthandler_timeout={timeout}"]
    return options


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], allow_abbrev=False)
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 16))
    parser.add_argument("--timeout", type=int, default=60, help="seconds for one test")
    options, rest = parser.parse_known_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes share the cores
    given = options_of_pytest(options.jobs, options.timeout)
    return int(pytest.main([*given, *rest, *files_for_a_gpu(TESTS)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
