"""Definition of `elite_ops.order_rows`: the rows of a kernel map by what they meet."""

from __future__ import annotations

import torch

from elite_ops.kernel_map import KernelMap, RowOrder

__all__ = ["order_rows"]


def order_rows(kernel_map: KernelMap) -> KernelMap:
    """See `elite_ops.order_rows`."""
    k_x, k_y, k_z = kernel_map.geometry.kernel_size
    meets = (kernel_map.in_rows >= 0).reshape(k_x * k_y, k_z, kernel_map.num_out)
    bits = torch.cat([meets.any(0), meets.any(1)])  # layers, then columns, lowest first
    parity = bits.flip(0).long().cumsum(0).flip(0) % 2  # of the bits from each one up
    weight = 2 ** torch.arange(len(bits), device=bits.device)
    number = (parity * weight[:, None]).sum(0)
    order = number.sort(stable=True).indices
    return kernel_map.replace(RowOrder(order.int(), kernel_map.in_rows[:, order]))
