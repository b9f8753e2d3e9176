"""Points grouped by segment."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["build_segments"]


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
