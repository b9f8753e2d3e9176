"""What one step of a training costs: its time, and the memory that it needs at its height."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch

__all__ = ["measure_step", "peak_mb", "process_mb"]

STATUS = Path("/proc/self/status")


def measure_step(benchmark: Any, step: Callable[[], object], device: torch.device) -> None:
    """Times `step`: ten times on a GPU after the first, and once on the CPU, where it takes long.

    `peak_mb` is what the first step needs at its height, beyond what is there before it, and
    `cpu_seconds` the time that all cores together spend on it. Memory that one variant freed serves
    the next, so peaks on the CPU are to be taken one variant a process (`-k`).
    """
    cost: dict[str, Any] = {}

    def first() -> None:
        busy = process_time()
        cost["peak_mb"] = peak_mb(step, device)
        cost["cpu_seconds"] = round(process_time() - busy, 1)

    if device.type == "cuda":
        first()
        benchmark.pedantic(step, rounds=10)
    else:
        benchmark.pedantic(first)
    benchmark.extra_info.update(cost, threads=torch.get_num_threads(), torch=str(torch.__version__))


def peak_mb(step: Callable[[], object], device: torch.device) -> float | None:
    """Memory that `step` needs at its height; None where the system doesn't tell."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    if not STATUS.exists():
        step()
        return None
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak
    before = _status_kb("VmRSS")
    step()
    return (_status_kb("VmHWM") - before) >> 10


def process_mb() -> int:
    """The most that this process has held since the last call of `peak_mb` began."""
    return _status_kb("VmHWM") >> 10


def _status_kb(name: str) -> int:
    return int(next(line for line in STATUS.open() if line.startswith(name)).split()[1])
