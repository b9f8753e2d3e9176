"""How often each row is named."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["spcount"]


def spcount(
    coords: Tensor,  # [...] integer: rows, -1 for none
    num: int | Tensor,
) -> Tensor:  # [num] int32
    """How many entries name each row from 0 to `num` - 1."""
    rows = coords.flatten()
    counts = torch.zeros(int(num) + 1, dtype=torch.int32, device=rows.device)
    places = torch.where(rows >= 0, rows, int(num)).long()
    return counts.index_add_(0, places, torch.ones_like(places, dtype=torch.int32))[:-1]
