"""OpenMP's threads, told to spin only briefly while they wait."""

from __future__ import annotations

import os

__all__ = ["wait_briefly"]

# Iterations, a few microseconds: longer than the usual wait between two loops of a training step,
# far shorter than the milliseconds that a core is lost for when its owner spins on.
SPIN_COUNT = "3000"


def wait_briefly() -> None:
    """Makes idle OpenMP threads give up their core soon instead of spinning on it.

    A thread that spins at the end of a parallel loop takes the core from whoever it waits for when
    there are more busy threads than cores: beside one data-loading process, or a second training,
    a step took several times as long. A thread that never spins is woken too late for the next
    loop: a step took a tenth longer. GNU's OpenMP reads the variable when it is loaded, so this
    must come before the first import of torch; what the user has set stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPIN_COUNT)
