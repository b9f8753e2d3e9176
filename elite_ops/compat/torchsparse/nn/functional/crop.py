"""Voxels within bounds."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.compat.torchsparse.versions import convention

__all__ = ["spcrop"]


def spcrop(
    input: SparseTensor,
    coords_min: Sequence[int] | None = None,
    coords_max: Sequence[int] | None = None,
) -> SparseTensor:
    """The voxels from `coords_min` to before `coords_max` along x, y, z, with a new cache.

    torchsparse 2.1 compares the batch, x and y; here it is x, y and z in any version.
    """
    cells = input.coords[:, convention().cell_columns]
    inside = torch.ones(len(cells), dtype=torch.bool, device=cells.device)
    if coords_min is not None:
        inside &= (cells >= cells.new_tensor(coords_min)).all(1)
    if coords_max is not None:
        inside &= (cells < cells.new_tensor(coords_max)).all(1)
    return SparseTensor(input.feats[inside], input.coords[inside], input.stride)
