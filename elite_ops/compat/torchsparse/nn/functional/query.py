"""Rows by number."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sphashquery"]


def sphashquery(
    queries: Tensor,  # [...] int64
    references: Tensor,  # [V] int64
) -> Tensor:  # [...] int64
    """The first reference that equals each query, or -1.

    *Deterministic:* yes. *Sync:* none.
    """
    if len(references) == 0:
        return torch.full_like(queries, -1)
    numbers, order = references.sort(stable=True)
    places = torch.searchsorted(numbers, queries.contiguous()).clamp(max=len(references) - 1)
    return torch.where(numbers[places] == queries, order[places], -1)
