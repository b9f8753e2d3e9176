"""Definition of `elite_ops.group_rows`: the rows of a kernel map by what they meet."""

from __future__ import annotations

from dataclasses import replace

import torch

from elite_ops.kernel_map import KernelMap, RowGroups

__all__ = ["group_rows"]


def group_rows(kernel_map: KernelMap) -> KernelMap:
    """See `elite_ops.group_rows`."""
    k_x, k_y, k_z = kernel_map.kernel_size
    meets = (kernel_map.neighbors >= 0).reshape(k_x * k_y, k_z, kernel_map.num_out)
    bits = torch.cat([meets.any(0), meets.any(1)])  # layers, then columns, lowest first
    parity = bits.flip(0).long().cumsum(0).flip(0) % 2  # of the bits from each one up
    weight = 2 ** torch.arange(len(bits), device=bits.device)
    number = (parity * weight[:, None]).sum(0)
    order = number.sort(stable=True).indices
    groups = RowGroups(order.int(), kernel_map.neighbors[:, order])
    return replace(kernel_map, groups=groups)
