"""Pooling over whole samples."""

from __future__ import annotations

from torch import Tensor, nn

from elite_ops.compat.torchsparse.nn.functional.pooling import global_avg_pool, global_max_pool
from elite_ops.compat.torchsparse.tensor import SparseTensor

__all__ = ["GlobalAvgPool", "GlobalMaxPool"]


class GlobalAvgPool(nn.Module):
    def forward(self, input: SparseTensor) -> Tensor:
        return global_avg_pool(input)


class GlobalMaxPool(nn.Module):
    def forward(self, input: SparseTensor) -> Tensor:
        return global_max_pool(input)
