"""Sums, means, maxima and minima of the rows of each segment."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["segment_max", "segment_mean", "segment_min", "segment_sum"]


def segment_sum(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32, -1 = in no segment
    num_segments: int,
) -> Tensor:  # [M, C]
    inside = inverse >= 0
    out = src.new_zeros(num_segments, src.shape[1])
    return out.index_add(0, inverse[inside].long(), src[inside])


def segment_mean(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32
    num_segments: int,
) -> Tensor:  # [M, C]
    counts = torch.bincount(inverse[inverse >= 0], minlength=num_segments).clamp(min=1)
    return segment_sum(src, inverse, num_segments) / counts[:, None].to(src.dtype)


def segment_max(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32
    num_segments: int,
) -> Tensor:  # [M, C]
    """Finds the first point that has the maximum, and takes its value: it alone has a gradient."""
    inside = inverse >= 0
    rows = src[inside]
    index = inverse[inside].long()[:, None].expand_as(rows)
    padded = torch.cat([rows, rows.new_zeros(1, rows.shape[1])])
    largest = padded.new_zeros(num_segments, rows.shape[1]).scatter_reduce(
        0, index, rows.detach(), "amax", include_self=False
    )
    at_points = largest.gather(0, index)
    is_largest = (rows == at_points) | rows.isnan()
    nobody = rows.shape[0]  # the padding
    number = torch.arange(nobody, device=src.device)[:, None].expand_as(rows)
    first = torch.full_like(largest, nobody, dtype=torch.int64).scatter_reduce(
        0, index, torch.where(is_largest, number, nobody), "amin"
    )
    return padded.gather(0, first)


def segment_min(
    src: Tensor,  # [N, C]
    inverse: Tensor,  # [N] int32
    num_segments: int,
) -> Tensor:  # [M, C]
    return -segment_max(-src, inverse, num_segments)
