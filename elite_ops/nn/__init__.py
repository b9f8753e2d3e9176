"""Layers on sparse tensors, with the argument names of their dense relatives in torch."""

from elite_ops.nn.conv import SubmanifoldConv3d
from elite_ops.nn.module import SparseModule
from elite_ops.nn.sequential import SparseSequential

__all__ = ["SparseModule", "SparseSequential", "SubmanifoldConv3d"]
