"""Points grouped by segment."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["build_segments", "intersect_segments", "segments_from_csr"]


def build_segments(
    inverse: Tensor,  # [N] int32, -1 = in no segment
    num_segments: int,
) -> tuple[Tensor, Tensor]:  # order [N] int32, offsets [M + 1] int32
    outside = (inverse < -1) | (inverse >= num_segments)
    if outside.any():
        raise IndexError("`inverse` must be in [-1, num_segments)")
    segment = torch.where(inverse < 0, num_segments, inverse.long())
    order = torch.sort(segment, stable=True).indices
    counts = torch.bincount(segment, minlength=num_segments + 1)
    offsets = torch.cat([counts.new_zeros(1), counts[:num_segments].cumsum(0)])
    return order.int(), offsets.int()


def segments_from_csr(
    offsets: Tensor,  # [M + 1], rising from 0 to at most num_points
    num_points: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """The segment of each point [N], the points [N], and the offsets [M + 1]: int32."""
    if offsets[0] != 0 or (offsets.diff() < 0).any() or offsets[-1] > num_points:
        raise IndexError("`offsets` must rise from 0 to at most num_points")
    points = torch.arange(num_points, device=offsets.device)
    inverse = torch.searchsorted(offsets.long(), points, right=True) - 1
    inverse[points >= offsets[-1]] = -1
    return inverse.int(), points.int(), offsets.int()


def intersect_segments(
    inverse: Sequence[Tensor],  # each [N] int32, -1 = in no segment
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The group of each point [N], points by group [N], offsets [M + 1], segments [L, M]: int32."""
    segments_of = torch.stack(list(inverse))
    inside = (segments_of >= 0).all(dim=0)
    segments, group = torch.unique(segments_of[:, inside], dim=1, return_inverse=True)
    group_of = torch.full_like(inverse[0], -1)
    group_of[inside] = group.int()
    return group_of, *build_segments(group_of, segments.shape[1]), segments
