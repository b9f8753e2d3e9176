"""The kernel map of a scan, and a copy of as many bytes as an op over it must move."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from submanifold import scan_with_kernel_map
from torch import Tensor

__all__ = ["ScanTables", "copy_of", "scan_tables"]


@dataclass(frozen=True)
class ScanTables:
    """A 3 x 3 x 3 submanifold map, as ops over kernel maps take it."""

    workload: str
    in_rows: Tensor  # [27, V] int32
    out_rows: Tensor
    symmetric: bool

    @property
    def voxels(self) -> int:
        return self.in_rows.shape[1]

    @property
    def pairs(self) -> int:
        return int((self.in_rows >= 0).sum())


@lru_cache(maxsize=1)
def scan_tables(device: torch.device) -> ScanTables:
    name, voxels = scan_with_kernel_map(device, 1)
    kernel_map = voxels.kernel_map
    assert kernel_map is not None
    return ScanTables(name, kernel_map.neighbors, kernel_map.transposed, kernel_map.mirrored)


def copy_of(moved: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Where a copy goes and comes from that reads and writes `moved` bytes in all."""
    source = torch.ones(int(moved) // 2, dtype=torch.uint8, device=device)
    return torch.empty_like(source), source
