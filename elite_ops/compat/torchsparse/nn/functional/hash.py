"""Numbers of coordinates."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sphash"]

BASIS = 14695981039346656037 - 2**64  # as int64
PRIME = 1099511628211
LOW_BITS = (1 << 60) - 1


def sphash(
    coords: Tensor,  # [N, 4] int32
    offsets: Tensor | None = None,  # [K, 3] int32
) -> Tensor:  # [N] or [K, N] int64
    """FNV-1a of the columns of coordinates, in 60 bits, as torchsparse's.

    Args:
        coords: the batch, where there is one, in any column; with `offsets` in the last.
        offsets: added to the first three columns, one after the other.

    Raises:
        TypeError: if a tensor is not int32.
        ValueError: if a shape is another one.

    *Deterministic:* yes. *Sync:* none.
    """
    _check("coords", coords, 4)
    columns = list(coords.long().unbind(1))
    if offsets is not None:
        _check("offsets", offsets, 3)
        moves = offsets.long().unbind(1)
        columns[:3] = [c + m[:, None] for c, m in zip(columns, moves, strict=False)]
    numbers = torch.full_like(columns[0], BASIS)
    for column in columns:
        numbers = (numbers ^ (column & 0xFFFFFFFF)) * PRIME
    return ((numbers >> 60) & 0xF) ^ (numbers & LOW_BITS)


def _check(name: str, tensor: Tensor, columns: int) -> None:
    if tensor.dtype != torch.int32:
        raise TypeError(f"sphash: `{name}` must be int32, got {tensor.dtype}")
    if tensor.dim() != 2 or tensor.shape[1] != columns:
        raise ValueError(f"sphash: `{name}` must be [N, {columns}], got {tuple(tensor.shape)}")
