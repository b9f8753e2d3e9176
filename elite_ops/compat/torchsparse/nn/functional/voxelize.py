"""Features of points averaged in their voxels."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.ops.segment_reduce import segment_sum
from elite_ops.ops.segments import Segments

__all__ = ["spvoxelize"]


def spvoxelize(
    feats: Tensor,  # [N, C]
    coords: Tensor,  # [N] integer: the row of its voxel, -1 for none
    counts: Tensor,  # [V] integer, from spcount
) -> Tensor:  # [V, C]
    """Adds up the rows of each voxel's points, and divides by its count; 0 where that is 0.

    *Differentiable:* in `feats`, twice. *Sync:* none. *Deterministic:* yes.

    Raises:
        IndexError: if a row is out of range (on CUDA: see `elite_ops.check_device_errors`).
    """
    sums = segment_sum(feats, Segments.from_coo(coords, len(counts)))
    means = sums / counts.clamp(min=1)[:, None].to(sums.dtype)
    return torch.where(counts[:, None] > 0, means, 0)
