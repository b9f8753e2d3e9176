"""The two calls to a GPU machine: steps that fail or hang leave the rest to run."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools/gpu"

FIRST = ["link", "build", "scans", "wheels", "smoke", "student", "variants", "counters", "test"]

# Stands for Python: each script says that it ran, one fails and one hangs.
PYTHON = """#!/bin/sh
echo "ran $*"
case "$*" in
  *smoke.py*memcheck*|*link.py*) exit 3 ;;
  *run_tests.py*) exec sleep 3600 ;;
esac
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    if shutil.which("bash") is None or shutil.which("timeout") is None:
        pytest.skip("no bash or timeout")
    shutil.copytree(TOOLS, tmp_path / "tools/gpu", ignore=shutil.ignore_patterns("*.py", "__*"))
    (tmp_path / "build/bundle").mkdir(parents=True)
    (tmp_path / "build/bundle/commit").write_text("abc1234\n")
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return tmp_path


def run(project: Path, script: str, limit: int) -> dict[str, str]:
    """How each step ended."""
    variables = {"GPU_PYTHON": str(project / "python"), "LIMIT": str(limit), "STEP_LIMIT": "5"}
    environment = {**os.environ, **variables}
    command = ["bash", project / "tools/gpu" / script, project / "out"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    text = (project / "out" / script).with_suffix(".txt").read_text()
    return {line.split()[0]: " ".join(line.split()[3:]) for line in text.splitlines()}


def test_the_first_call_builds_where_it_cannot_link_and_goes_on(project: Path) -> None:
    ended = run(project, "first.sh", limit=600)
    assert list(ended) == FIRST
    assert ended["link"] == "failed (3)"
    assert ended["build"] == ended["smoke"] == ended["student"] == "done"
    assert ended["test"].startswith("cut after")
    log = (project / "out/first.log").read_text()
    assert log.count("==== ") == len(FIRST)
    assert "ran tools/gpu/smoke.py --json" in log


def test_the_second_call_repeats_failures_only_where_they_are_known(project: Path) -> None:
    steps = ["memcheck", "racecheck", "synccheck", "student", "fp16"]
    ended = run(project, "second.sh", limit=60)
    assert list(ended)[-5:] == steps
    assert ended["memcheck"] == "failed (3)"
    assert ended["racecheck"] == ended["fp16"] == "done"
    assert "failures" not in ended

    shutil.rmtree(project / "out")
    (project / "build/bundle/failed.json").write_text("{}")
    ended = run(project, "second.sh", limit=600)
    assert ended["failures"].startswith("cut after")
    assert (project / ".pytest_cache/v/cache/lastfailed").read_text() == "{}"


def test_no_step_begins_when_the_time_is_over(project: Path) -> None:
    ended = run(project, "first.sh", limit=0)
    assert len(ended) == len(FIRST)
    assert all(how == "was left" for how in ended.values())
