"""Features of voxels from the points in them, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.reference.segment_reduce import segment_mean
from elite_ops.reference.voxel_to_point import voxel_to_point

__all__ = ["encode_voxels"]


def encode_voxels(
    points: Tensor,  # [N, 3 + F] float32
    segments: Segments,
    indices: Tensor,  # [V, 4] int32
    weight: Tensor,  # [9 + F, C]
    bias: Tensor,  # [C]
    *,
    voxel_size: Sequence[float],
    origin: Sequence[float],
    negative_slope: float = 0.0,
) -> Tensor:  # [V, C]
    """See `elite_ops.encode_voxels`."""
    inverse, num_voxels = segments.inverse, segments.num_segments
    points = points.to(weight.dtype)
    xyz = points[:, :3]
    corner = indices[:, 1:] * points.new_tensor(voxel_size) + points.new_tensor(origin)
    from_mean = xyz - voxel_to_point(segment_mean(xyz, inverse, num_voxels), inverse)
    from_corner = xyz - voxel_to_point(corner, inverse)
    described = torch.cat([points, from_mean, from_corner], dim=1)
    encoded = F.leaky_relu(described @ weight + bias, negative_slope)
    return segment_mean(encoded, inverse, num_voxels)
