"""Rows of voxels copied to their points."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["voxel_to_point"]


def voxel_to_point(
    features: Tensor,  # [M, C]
    inverse: Tensor,  # [N] int32, -1 = no voxel
) -> Tensor:  # [N, C]
    padded = torch.cat([features, features.new_zeros(1, features.shape[1])])
    return padded[torch.where(inverse < 0, features.shape[0], inverse.long())]
