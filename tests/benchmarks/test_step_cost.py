"""The memory of a step is what it needs: against pages that are counted by hand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import alone
import pytest
import step_cost
import torch

PROGRAM = Path(__file__).with_name("memory_known.py")
NEEDED = 64  # MiB, in memory_known.py
# The kernel adds up pages in portions, one for each core that a thread has run on.
PORTIONS = 8 * max(1, (os.cpu_count() or 1) // 16)  # MiB
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def found() -> dict[str, int]:
    """In a process of its own, whose free memory is its own, and on one thread."""
    folders = (str(Path(step_cost.__file__).parent), os.environ.get("PYTHONPATH", ""))
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, folders)), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, PROGRAM]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    memory: dict[str, int] = json.loads(done.stdout)
    if memory["nothing"] is None:
        pytest.skip("the system doesn't tell the peak of a process's memory")
    return memory


def test_nothing_needs_nothing(found: dict[str, int]) -> None:
    assert 0 <= found["nothing"] <= PORTIONS


@pytest.mark.parametrize(
    "case", ["pages", "pages after a higher peak", "blocks where others were freed"]
)
def test_what_is_taken_is_counted_whatever_was_there_before(
    found: dict[str, int], case: str
) -> None:
    assert abs(found[case] - NEEDED) <= PORTIONS


def test_the_process_is_counted_from_the_step_on(found: dict[str, int]) -> None:
    assert found["process"] > NEEDED


def test_a_system_that_does_not_tell_is_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor a failure: where the peak can't be forgotten, and where there is none."""
    monkeypatch.setattr(step_cost, "CLEAR_REFS", tmp_path / "absent" / "clear_refs")
    calls: list[int] = []
    assert step_cost.peak_mb(lambda: calls.append(1), CPU) is None
    monkeypatch.setattr(step_cost, "CLEAR_REFS", tmp_path / "clear_refs")
    monkeypatch.setattr(step_cost, "STATUS", tmp_path / "status")
    assert step_cost.peak_mb(lambda: calls.append(2), CPU) is None
    (tmp_path / "status").write_text("VmRSS:\t  100 kB\n")
    assert step_cost.peak_mb(lambda: calls.append(3), CPU) is None
    assert calls == [1, 2, 3]
    monkeypatch.setattr(alone, "stepping", lambda form: lambda: None)
    monkeypatch.setattr(sys, "argv", ["alone.py", "step", "elite_ops"])
    alone.main()
    assert json.loads(capsys.readouterr().out) == {"memory": "not told by the system"}
