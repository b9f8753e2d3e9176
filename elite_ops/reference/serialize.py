"""Definition of `elite_ops.serialize`: along a curve, octant by octant."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["serialize"]


def serialize(
    indices: Tensor,  # [V, 4] int32: batch, x, y, z
    *,
    order: str = "z",
    depth: int,
) -> Tensor:  # [V] int64
    """See `elite_ops.serialize`."""
    batch, x, y, z = indices.long().unbind(dim=1)
    axes = [y, x, z] if order.endswith("trans") else [x, y, z]
    return batch << 3 * depth | (_hilbert if order.startswith("h") else _z)(axes, depth)


def _z(axes: list[Tensor], depth: int) -> Tensor:
    code = torch.zeros_like(axes[0])
    for bit in reversed(range(depth)):
        for axis in axes:
            code = code << 1 | (axis >> bit & 1)
    return code


def _hilbert(axes: list[Tensor], depth: int) -> Tensor:
    """The curve inside of an octant is the whole one, its axes exchanged and mirrored."""
    cell = torch.stack(axes)
    code = last = torch.zeros_like(axes[0])
    is_axis = torch.arange(3, device=code.device)[:, None].expand_as(cell).clone()
    is_mirrored = torch.zeros_like(cell)
    for bit in reversed(range(depth)):
        bits = (cell.gather(0, is_axis) >> bit & 1) ^ is_mirrored
        for axis in range(3):
            last = last ^ bits[axis]  # octants follow one another by a Gray code
            code = code << 1 | last
        for axis in range(3):
            is_set = bits[axis] == 1
            is_mirrored[0] = torch.where(is_set, 1 - is_mirrored[0], is_mirrored[0])
            for frame in (is_axis, is_mirrored):
                first, other = frame[0].clone(), frame[axis].clone()
                frame[0] = torch.where(is_set, first, other)
                frame[axis] = torch.where(is_set, frame[axis], first)
    return code
