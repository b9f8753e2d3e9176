"""Runs the real kernel sources on the host, under sanitizers, in both thread orders."""

from pathlib import Path

import pytest
from programs import ORDERS, ROOT, make, run

PROGRAMS = sorted(p.stem for p in Path(__file__).parent.glob("test_*.cpp"))


@pytest.fixture(scope="session")
def built() -> Path:
    make("emulated")
    return ROOT / "build" / "emulated"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_kernels(built: Path, program: str, order: str) -> None:
    done = run(built / program, **ORDERS[order])
    assert done.returncode == 0, done.stdout + done.stderr
