"""The rows of a kernel map, sorted by what they meet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap, RowOrder
from elite_ops.registration import register_fake

__all__ = ["order_rows"]


def order_rows(kernel_map: KernelMap) -> KernelMap:
    """Has CUDA convolutions walk the rows of a map by what they meet; results stay the same bits.

    A kernel works on tiles of rows, and a tile does the work of every offset that one of its rows
    meets. Rows are sorted by which columns of offsets (all that share x and y) and which layers
    (all that share z) they meet, along a Gray code, rows of equal meetings in their own order.

    Not done unless asked for: whether it pays depends on the device and on how many convolutions
    share the map.

    Args:
        kernel_map: from `build_kernel_map` or `voxelize`.

    Returns:
        The same map with `row_order`.

    Raises:
        ValueError: if the table's number of rows is not the number of the kernel's offsets, or if
            not all of its columns are valid (`KernelMap.num_rows`).

    Example:
        Voxels 0 and 2 have a neighbour above, 1 and 3 one below:

        >>> from elite_ops import KernelGeometry
        >>> table = torch.tensor([[-1, 0, -1, 2], [0, 1, 2, 3], [1, -1, 3, -1]], dtype=torch.int32)
        >>> geometry = KernelGeometry.of_submanifold((1, 1, 3))
        >>> kernel_map = KernelMap(table, 4, geometry, symmetric=True)
        >>> order_rows(kernel_map).row_order.order.tolist()
        [0, 2, 1, 3]

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* sorting rows by neighbour mask is spconv's (Yan et al., 2018); the short key is ours.
    """
    kernel_map.check_not_padded("order_rows")
    kernel_size = kernel_map.geometry.in_3d().kernel_size
    order, in_rows = torch.ops.elite_ops.order_rows(kernel_map.in_rows, kernel_size)
    return kernel_map.replace(RowOrder(order, in_rows))


def _fake(in_rows: Tensor, kernel_size: Sequence[int]) -> tuple[Tensor, Tensor]:
    if in_rows.dim() != 2:
        raise ValueError(
            f"order_rows: `in_rows` must have 2 dimensions, got shape {tuple(in_rows.shape)}"
        )
    return in_rows.new_empty(in_rows.shape[1]), in_rows.new_empty(in_rows.shape)


register_fake("order_rows", _fake)
