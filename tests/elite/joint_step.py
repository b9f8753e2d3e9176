"""One training step of two processes, to be compared with one of the joint batch."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

DEADLOCK = 1800  # seconds: processes that wait for each other never end
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
    # On a port that is free, of this machine by a name that every machine knows.
    torchrun += ["--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0", "--local-addr=localhost"]
    done = subprocess.run(
        [*torchrun, str(here / "two_processes.py"), *programs],
        capture_output=True,
        text=True,
        timeout=DEADLOCK,
        env=os.environ | {"PYTHONPATH": str(here.parents[1]), "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
