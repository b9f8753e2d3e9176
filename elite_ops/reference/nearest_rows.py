"""The nearest neighbour of each point, from all distances."""

from __future__ import annotations

import torch
from torch import Tensor

CHUNK = 64  # queries whose distances to all candidates are held at a time


def nearest_rows(
    queries: Tensor,  # [Q, 3]
    candidates: Tensor,  # [M, 3]
) -> Tensor:  # [Q]
    queries = queries.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)
    return torch.cat([_nearest(chunk, candidates) for chunk in torch.split(queries, CHUNK)])


def _nearest(queries: Tensor, candidates: Tensor) -> Tensor:
    """In the order of roundings that every device keeps; `argmin` takes the first of equals."""
    x, y, z = (
        (query[:, None] - candidate).square()
        for query, candidate in zip(queries.unbind(1), candidates.unbind(1), strict=True)
    )
    squared = (x + y) + z
    return squared.nan_to_num(nan=torch.inf, posinf=torch.inf).argmin(dim=1)
