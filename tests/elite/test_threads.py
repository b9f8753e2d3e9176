"""The commands' threads sleep while they wait: OpenMP itself says what it understood."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from elite.cli.threads import wait_asleep
import elite.cli
assert "torch" not in sys.modules, "too late: OpenMP is loaded"
wait_asleep()
import torch
"""


@pytest.mark.parametrize(("chosen", "understood"), [(None, "PASSIVE"), ("active", "ACTIVE")])
def test_openmp_is_told_in_time_and_a_choice_of_the_user_stays(
    chosen: str | None, understood: str
) -> None:
    environment = {**os.environ, "OMP_DISPLAY_ENV": "true"}
    environment.pop("OMP_WAIT_POLICY", None)
    if chosen is not None:
        environment["OMP_WAIT_POLICY"] = chosen
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("torch is built with another OpenMP than GNU's")
    assert f"OMP_WAIT_POLICY = '{understood}'" in done.stderr
