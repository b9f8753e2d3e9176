"""The nearest neighbour of each point."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.registration import register_fake

__all__ = ["nearest_rows"]


def nearest_rows(
    queries: Tensor,  # [Q, 3] float32
    candidates: Tensor,  # [M, 3] float32, M > 0
) -> Tensor:  # [Q] int64
    """The row of the candidate that is nearest to each query; of equally near ones the smallest.

    Squared distances are compared. Every difference, product and sum is rounded to float32 in the
    order (dx dx + dy dy) + dz dz, so that all devices agree to the bit.

    On the CPU, boxes around 32 and around 1024 consecutive candidates tell which are too far away
    to be tried. Few are left where neighbouring rows lie near each other, as those of a scan do; in
    the worst order all pairs are tried.

    Args:
        queries: places in metres; NaN and infinities count as 0.
        candidates: places in metres. One with a NaN or an infinity is infinitely far away: it is
            chosen only where all are, and then the row is 0.

    Returns:
        A row of `candidates` for each query.

    Raises:
        ValueError: if a shape or a device is not as above, or there is no candidate.
        TypeError: if a dtype is not float32.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes, and equal on all devices.
    *Source:* nearest neighbours with bounding boxes on the CPU, all pairs on CUDA.

    Example:
        >>> candidates = torch.tensor([[0.0, 0, 0], [10, 0, 0]])
        >>> nearest_rows(torch.tensor([[9.0, 0, 0], [5, 0, 0]]), candidates)
        tensor([1, 0])
    """
    nearest: Tensor = torch.ops.elite_ops.nearest_rows(queries, candidates)
    return nearest


def _fake(queries: Tensor, candidates: Tensor) -> Tensor:
    return queries.new_empty(queries.shape[0], dtype=torch.int64)


register_fake("nearest_rows", _fake)
