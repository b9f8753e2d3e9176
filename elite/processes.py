"""Processes that work beside this one."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

__all__ = ["available_cores", "process_pool"]


def available_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def process_pool(workers: int) -> ProcessPoolExecutor:
    """Spawned processes, since a fork of a process with threads (torch has some) may hang."""
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
