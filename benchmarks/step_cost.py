"""What one step of a training costs: its time, and the memory that it needs at its height."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from time import process_time
from typing import Any

import torch

from elite_ops import empty_cpu_cache

__all__ = ["measure_step", "peak_mb", "process_mb"]

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def measure_step(benchmark: Any, step: Callable[[], object], device: torch.device) -> None:
    """Times `step`: ten times on a GPU after the first, and once on the CPU, where it takes long.

    `peak_mb` is what the first step needs at its height, beyond what is there before it, and
    `cpu_seconds` the time that all cores together spend on it.
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
    """MiB that `step` needs at its height; None where the system doesn't tell.

    On the CPU whole pages are counted, so that 0 is what can't be resolved: less than 1 MiB, or
    what fits into gaps between living objects.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step()
        return round((torch.cuda.max_memory_allocated() - before) / 2**20, 1)
    _give_back_free_memory()
    before_kb = _peak_kb() if _forget_the_peak() else None
    step()
    after_kb = _peak_kb()
    return None if before_kb is None or after_kb is None else round((after_kb - before_kb) / 1024)


def process_mb() -> int | None:
    """The most MiB that this process has held since the last call of `peak_mb` began."""
    peak = _peak_kb()
    return None if peak is None else round(peak / 1024)


def _give_back_free_memory() -> None:
    """Or a step that is served from it would seem to need none."""
    empty_cpu_cache()
    library = ctypes.CDLL(None)
    if hasattr(library, "malloc_trim"):  # glibc's
        library.malloc_trim(0)


def _forget_the_peak() -> bool:
    """Makes what the process holds now its peak; False where the kernel can't, or may not."""
    try:
        CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _peak_kb() -> int | None:
    if not STATUS.exists():
        return None
    rows = dict(line.split(":", 1) for line in STATUS.read_text(encoding="utf-8").splitlines())
    return int(rows["VmHWM"].split()[0]) if "VmHWM" in rows else None
