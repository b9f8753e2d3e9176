"""Whole grids of features."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

__all__ = ["to_dense"]


def to_dense(
    feats: Tensor,  # [V, C]
    coords: Tensor,  # [V, 4]: batch, x, y, z
    spatial_range: Sequence[int],  # samples, and cells along x, y, z
) -> Tensor:  # [*spatial_range, C]
    """The grids, with zeros where there is no voxel. *Differentiable:* in `feats`."""
    grid = feats.new_zeros(*spatial_range, feats.shape[1])
    return grid.index_put(tuple(coords.long().unbind(1)), feats)
