"""Pooling over kernel maps, and over samples, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap
from elite_ops.reference.segment_reduce import segment_max, segment_mean

__all__ = ["global_avg_pool", "global_max_pool", "sparse_avg_pool", "sparse_max_pool"]


def sparse_max_pool(
    features: Tensor,  # [V_in, C]
    kernel_map: KernelMap,
) -> Tensor:  # [V_out, C]
    """`max_k features[in_rows[k, i]]` where there are rows; 0 where there are none."""
    in_rows = kernel_map.in_rows
    out = features.new_zeros(in_rows.shape[1], features.shape[1])
    is_first = torch.ones(len(out), 1, dtype=torch.bool, device=out.device)
    for rows in in_rows.long():
        (met,) = (rows >= 0).nonzero(as_tuple=True)
        value, best = features[rows[met]], out[met]
        wins = is_first[met] | ~(value <= best) & (best == best)
        out = out.index_put((met,), torch.where(wins, value, best))
        is_first[met] = False
    return out


def sparse_avg_pool(
    features: Tensor,  # [V_in, C]
    kernel_map: KernelMap,
) -> Tensor:  # [V_out, C]
    """`mean_k features[in_rows[k, i]]` over the rows that are there; 0 where there are none."""
    in_rows = kernel_map.in_rows
    out = features.new_zeros(in_rows.shape[1], features.shape[1])
    for rows in in_rows.long():
        (met,) = (rows >= 0).nonzero(as_tuple=True)
        out = out.index_add(0, met, features[rows[met]])
    return out / (in_rows >= 0).sum(0).clamp(min=1)[:, None]


def global_max_pool(features: Tensor, indices: Tensor, batch_size: int) -> Tensor:
    """The maximum over the voxels of each sample."""
    return segment_max(features, indices[:, 0], batch_size)


def global_avg_pool(features: Tensor, indices: Tensor, batch_size: int) -> Tensor:
    """The mean over the voxels of each sample."""
    return segment_mean(features, indices[:, 0], batch_size)
