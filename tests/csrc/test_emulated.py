"""Runs the real kernel sources on the host, under sanitizers, in both thread orders."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = sorted(p.stem for p in Path(__file__).parent.glob("test_*.cpp"))


@pytest.fixture(scope="session")
def built() -> Path:
    make = ["make", "--silent", f"-j{os.cpu_count()}", "emulated"]
    done = subprocess.run(make, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return ROOT / "build" / "emulated"


@pytest.mark.parametrize("order", ["forward", "reversed"])
@pytest.mark.parametrize("program", PROGRAMS)
def test_kernels(built: Path, program: str, order: str) -> None:
    environment = os.environ | ({"EMULATION_REVERSED": "1"} if order == "reversed" else {})
    # A thread that spins until another one writes never ends here, so there is a limit.
    done = subprocess.run(
        [built / program], env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
