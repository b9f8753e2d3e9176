"""Voxels spread over whole grids."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["dense_grid"]


def dense_grid(
    features: Tensor,  # [V, C]
    indices: Tensor,  # [V, D + 1] int32: batch and cell, each once and inside the grid
    shape: Sequence[int],  # [D + 1]: samples and cells
    axes: Sequence[int],
) -> Tensor:
    """The grids [*shape, C] with zeros where there is no voxel, and with their axes in an order.

    Features are written to where they belong: transposing the grids afterwards would take longer
    than all the rest.

    Returns:
        The same as `permute(*axes)` of the grids, contiguous.
    """
    full = (*shape, features.shape[1])
    strides = [0] * len(full)
    step = 1
    for axis in reversed(axes):
        strides[axis] = step
        step *= full[axis]
    grid = features.new_empty_strided(full, strides).zero_()
    return grid.index_put_(tuple(indices.long().unbind(1)), features).permute(*axes)
