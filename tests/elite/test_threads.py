"""The commands' threads spin only briefly: OpenMP itself says what it understood."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from elite.cli.threads import wait_briefly
import elite.cli
assert "torch" not in sys.modules, "too late: OpenMP is loaded"
wait_briefly()
import torch
"""


@pytest.mark.parametrize(
    ("chosen", "understood"),
    [
        ({}, "3000"),
        ({"OMP_WAIT_POLICY": "passive"}, "0"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
    ],
)
def test_openmp_is_told_in_time_and_a_choice_of_the_user_stays(
    chosen: dict[str, str], understood: str
) -> None:
    environment = {**os.environ, "OMP_DISPLAY_ENV": "verbose"}
    for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"):
        environment.pop(name, None)
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(
        command, env=environment | chosen, capture_output=True, text=True, check=True
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("torch is built with another OpenMP than GNU's")
    assert f"GOMP_SPINCOUNT = '{understood}'" in done.stderr
