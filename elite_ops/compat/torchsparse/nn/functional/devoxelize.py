"""Features of voxels read at points."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.compat.torchsparse.versions import convention
from elite_ops.ops.devoxelize import weighted_rows
from elite_ops.ops.segments import build_segments

__all__ = ["calc_ti_weights", "spdevoxelize"]


@torch.no_grad()
def calc_ti_weights(
    coords: Tensor,  # [N, 3 or more]: x, y, z of points, in cells
    idx_query: Tensor,  # [N, 8]; of 1.4 [8, N]
    scale: float = 1,
) -> Tensor:  # as idx_query
    """The trilinear weights of the eight voxels around each point, those that exist.

    Of a point in its voxel, counted from the voxel's lowest corner; z of the eight is the fastest.

    Args:
        coords: the points.
        idx_query: the row of each of the eight, -1 for none.
        scale: how many cells a voxel is wide.

    Returns:
        Weights whose sum is 1, less a rounding error of 1e-8, or 0 where no voxel exists.
    """
    points = coords[:, :3] if coords.is_floating_point() else coords[:, :3].float()
    # A tensor: dividing by a Python number multiplies by its reciprocal on CUDA, and a point at the
    # lower corner of a voxel may end up below.
    size = points.new_full((), scale)
    low = torch.floor(points / size) * size
    above = (points - low) / size
    x, y, z = (torch.stack([1 - a, a], 1) for a in above.unbind(1))
    weights = (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(1)
    by_point = convention().batch_first
    weights = weights.where((idx_query if by_point else idx_query.T) != -1, 0)
    weights = weights / (weights.sum(1, keepdim=True) + 1e-8)
    return weights if by_point else weights.T.contiguous()


def spdevoxelize(
    feats: Tensor,  # [V, C]
    coords: Tensor,  # [N, K] integer: rows, -1 for none
    weights: Tensor,  # [N, K]
) -> Tensor:  # [N, C]
    """The weighted sum of rows for each point; those that don't exist count as 0.

    *Differentiable:* in `feats`, any number of times. *Sync:* none. *Deterministic:* yes.

    Raises:
        IndexError: if a row is out of range (on CUDA: see `elite_ops.check_device_errors`).
    """
    rows = coords.int()
    segments = build_segments(rows.flatten(), len(feats))  # which checks the rows
    return weighted_rows(feats, rows, weights.float(), segments)
