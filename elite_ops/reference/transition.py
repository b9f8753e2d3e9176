"""Features carried from the voxels of one scale to those of another, through the points."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.reference.segment_reduce import segment_mean
from elite_ops.reference.voxel_to_point import voxel_to_point

__all__ = ["transition"]


def transition(
    features: Tensor,  # [V_fine, C]
    fine_inverse: Tensor,  # [N] int32, -1 = no voxel
    coarse_inverse: Tensor,  # [N] int32, -1 = no voxel
    num_coarse: int,
) -> Tensor:  # [V_coarse, C]
    at_points = voxel_to_point(features, fine_inverse)
    counted = torch.where(fine_inverse < 0, -1, coarse_inverse)
    return segment_mean(at_points, counted, num_coarse)
