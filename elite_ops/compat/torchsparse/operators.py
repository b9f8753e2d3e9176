"""Several tensors to one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from elite_ops.compat.torch_scatter import scatter_sum
from elite_ops.compat.torchsparse.tensor import SparseTensor

__all__ = ["cat", "generative_add"]


def cat(inputs: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of tensors on the same voxels, one after the other."""
    return inputs[0].replace(torch.cat([x.feats for x in inputs], dim=1))


def generative_add(a: SparseTensor, b: SparseTensor) -> SparseTensor:
    """The sum of tensors on the voxels of both, in order of their coordinates."""
    larger, smaller = (a, b) if len(a.feats) >= len(b.feats) else (b, a)
    coords, rows = torch.unique(
        torch.cat([larger.coords, smaller.coords]), dim=0, return_inverse=True
    )
    sums = scatter_sum(torch.cat([larger.feats, smaller.feats]), rows, 0, dim_size=len(coords))
    output = SparseTensor(sums, coords, larger.stride, larger.spatial_range)
    output._caches = larger._caches
    return output
