"""Kernel maps from tables, and on other devices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from elite_ops import KernelGeometry, KernelMap


def symmetric_map(table: Tensor, kernel_size: Any = 3, num_rows: Tensor | None = None) -> KernelMap:
    """The map of a submanifold convolution with an odd kernel."""
    geometry = KernelGeometry.of_submanifold(kernel_size)
    return KernelMap(table, table.shape[1], geometry, symmetric=True, num_rows=num_rows)


def move(kernel_map: KernelMap, device: torch.device) -> KernelMap:
    symmetric, num_rows = kernel_map.symmetric, kernel_map.num_rows
    return KernelMap(
        kernel_map.in_rows.to(device),
        kernel_map.num_in,
        kernel_map.geometry,
        symmetric=symmetric,
        out_rows=None if symmetric else kernel_map.out_rows.to(device),
        num_rows=None if num_rows is None else num_rows.to(device),
    )
