"""The softmax over the points of each segment, and the logarithm of its denominator."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.reference.segment_reduce import segment_sum
from elite_ops.reference.voxel_to_point import voxel_to_point

__all__ = ["segment_logsumexp", "segment_softmax"]


def segment_softmax(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32, -1 = in no segment
    num_segments: int,
) -> Tensor:  # [N, C]
    powers = (src - voxel_to_point(_largest(src, inverse, num_segments), inverse)).exp()
    sums = voxel_to_point(segment_sum(powers, inverse, num_segments), inverse)
    is_inside = inverse[:, None] >= 0
    return torch.where(is_inside, powers / torch.where(is_inside, sums, 1), 0)


def segment_logsumexp(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32
    num_segments: int,
) -> Tensor:  # [M, C]
    largest = _largest(src, inverse, num_segments)
    powers = (src - voxel_to_point(largest, inverse)).exp()
    return largest + segment_sum(powers, inverse, num_segments).log()


def _largest(src: Tensor, inverse: Tensor, num_segments: int) -> Tensor:
    """Of each channel in each segment, as a constant; 0 where a segment is empty."""
    rows = src.detach()[inverse >= 0]
    index = inverse[inverse >= 0].long()[:, None].expand_as(rows)
    out = rows.new_zeros(num_segments, rows.shape[1])
    return out.scatter_reduce(0, index, rows, "amax", include_self=False)
