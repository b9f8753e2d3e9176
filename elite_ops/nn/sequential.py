"""A chain of sparse and plain layers."""

from __future__ import annotations

from torch import nn

from elite_ops.nn.module import SparseModule
from elite_ops.sparse_tensor import SparseTensor

__all__ = ["SparseSequential"]


class SparseSequential(nn.Sequential, SparseModule):
    """Applies its layers in turn; those of torch (norms, activations, Linear) act on the features.

    Example:
        >>> from elite_ops.nn import SubmanifoldConv3d
        >>> block = SparseSequential(
        ...     SubmanifoldConv3d(4, 64, bias=False), nn.BatchNorm1d(64), nn.LeakyReLU(0.1)
        ... )
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        for module in self:
            is_sparse = isinstance(module, SparseModule)
            x = module(x) if is_sparse else x.replace(module(x.features))
        return x
