"""The verbs of a GPU machine: one command each, where nothing can be downloaded."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest
import torch
from device_time import CALLS, device_seconds

ROOT = Path(__file__).parents[2]


@pytest.fixture
def commands() -> str:
    if shutil.which("make") is None:
        pytest.skip("no make")
    make = ["make", "--dry-run", "--always-make", "gpu-check", "gpu-profile", "gpu-bench"]
    done = subprocess.run(
        [*make, "GPU_PYTHON=gpu-python"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_nothing_is_installed(commands: str) -> None:
    assert "pip" not in commands
    assert ".venv" not in commands


def test_every_tool_of_the_sanitizer_runs_over_the_small_scene(commands: str) -> None:
    for tool in ("memcheck", "racecheck", "synccheck"):
        assert commands.count(f"--scan none --under {tool} ") == 1


def test_the_order_is_build_smoke_test_profile_bench_report(commands: str) -> None:
    steps = ["build_ext", "smoke.py", "unpack_wheels.py", "run_tests.py"]
    steps += ["profile_student.py", "record.py", "report.py"]
    places = [commands.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_time_of_the_device_is_that_of_its_kernels() -> None:
    """Longer than any GPU's 137 GFLOP take, and no longer than somebody waits."""
    a = torch.randn(4096, 4096, device="cuda")
    begin = time.perf_counter()
    seconds = device_seconds(lambda: a @ a, rounds=5)
    waited = time.perf_counter() - begin
    assert len(seconds) == 5
    assert min(seconds) > 1e-5
    assert CALLS * sum(seconds) < waited
