"""OpenMP's threads, told to sleep while they wait."""

from __future__ import annotations

import os

__all__ = ["wait_asleep"]


def wait_asleep() -> None:
    """Makes idle OpenMP threads give up their core instead of spinning on it.

    A thread that spins at the end of a parallel loop takes the core from whoever it waits for when
    there are more busy threads than cores: beside one data-loading process, or a second training,
    a step took several times as long. OpenMP reads the variable when it is loaded, so this must
    come before the first import of torch; a value that the user has set stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
