"""The kernel map of a scan, and a copy of as many bytes as an op over it must move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from submanifold import scan_with_kernel_map
from torch import Tensor

from elite_ops import KernelMap

__all__ = ["ScanTables", "copy_of", "scan_tables"]


@dataclass(frozen=True)
class ScanTables:
    workload: str
    kernel_map: KernelMap  # of a 3 x 3 x 3 submanifold convolution

    @property
    def voxels(self) -> int:
        return self.kernel_map.num_out

    @property
    def pairs(self) -> int:
        return int((self.kernel_map.in_rows >= 0).sum())


@lru_cache(maxsize=1)
def scan_tables(device: torch.device) -> ScanTables:
    name, voxels = scan_with_kernel_map(device, 1)
    return ScanTables(name, voxels.submanifold_map())


def copy_of(moved: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where a copy goes and comes from that reads and writes `moved` bytes in all."""
    source = torch.ones(int(moved) // 2, dtype=torch.uint8, device=device)
    return torch.empty_like(source), source
