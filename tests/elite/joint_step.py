"""One training step of two processes, to be compared with one of the joint batch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

# One step whose change of the weights is the gradient itself.
ONE_STEP = [
    "optimizer.lr=1.0",
    "optimizer.warmup_epochs=0",
    "optimizer.momentum=0.0",
    "optimizer.nesterov=false",
    "optimizer.weight_decay=0",
    "optimizer.clip_norm=1e9",
    "optimizer.epochs=1",
    "student.channels=8",
    "student.head_channels=8",
    "data.num_workers=0",
]


def run_two_processes(programs: Sequence[str]) -> None:
    """Runs two_processes.py with these arguments, twice and together, on the CPU."""
    here = Path(__file__).parent
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    done = subprocess.run(
        [*torchrun, str(here / "two_processes.py"), *programs],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(here.parents[1]), "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
