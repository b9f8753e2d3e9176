"""The memory of CPU results and scratch, which is handed out again instead of given back."""

from __future__ import annotations

from dataclasses import dataclass

from elite_ops import _C

__all__ = ["CpuMemory", "cpu_memory", "empty_cpu_cache"]


@dataclass(frozen=True)
class CpuMemory:
    """What the pool of large blocks (64 KiB and more) holds, in bytes.

    `in_use` and `kept` together are at most twice what was in use at once.
    """

    in_use: int  # by living tensors that ops made, and by running ops
    kept: int  # waiting to be handed out again
    allocations: int  # number of blocks that came from the system so far


def cpu_memory() -> CpuMemory:
    """How much memory the CPU ops hold.

    Results of CPU ops come from a pool, like those of CUDA ops do in torch: after the first few
    calls on inputs of much the same size nothing is allocated any more.
    """
    return CpuMemory(**_C.memory_statistics())


def empty_cpu_cache() -> None:
    """Gives the memory that is kept back to the system; living tensors stay as they are."""
    _C.release_kept_memory()
