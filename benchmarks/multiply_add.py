"""multiply_add.cpp, compiled for the processor at hand and run on several threads."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

__all__ = ["ROUNDS", "compiled", "flop", "run"]

SOURCE = Path(__file__).with_suffix(".cpp")
FLAGS = ["-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC"]
ROUNDS = 40_000_000  # of each thread in a call


@cache
def compiled() -> ctypes.CDLL:
    """The library.

    Raises:
        OSError: if there is no compiler.
        RuntimeError: if it refuses the source.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "multiply_add.so")
        command = [os.environ.get("CXX", "c++"), *FLAGS, str(SOURCE), "-o", str(target)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError((done.stderr.splitlines() or ["no reason given"])[0])
        library = ctypes.CDLL(str(target))
    library.multiply_add.argtypes = [ctypes.c_int64, *[ctypes.c_float] * 3]
    library.multiply_add.restype = ctypes.c_float
    library.flop_per_round.restype = ctypes.c_int64
    return library


def flop(library: ctypes.CDLL, threads: int) -> int:
    """Of one call of `run`."""
    return int(library.flop_per_round()) * ROUNDS * threads


def run(library: ctypes.CDLL, threads: int) -> list[float]:
    """What each thread has summed up: it works outside of Python's lock."""
    with ThreadPoolExecutor(threads) as pool:
        calls = [pool.submit(library.multiply_add, ROUNDS, 1.0, 0.5, 1.0) for _ in range(threads)]
        return [call.result() for call in calls]
