"""Layers on sparse tensors, with the argument names of their dense relatives in torch."""

from elite_ops.nn.conv import (
    SparseConv2d,
    SparseConv3d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SubmanifoldConv2d,
    SubmanifoldConv3d,
)
from elite_ops.nn.fold import FoldedConv, fold
from elite_ops.nn.module import SparseModule
from elite_ops.nn.pool import (
    GlobalAvgPool,
    GlobalMaxPool,
    SparseAvgPool2d,
    SparseAvgPool3d,
    SparseMaxPool2d,
    SparseMaxPool3d,
)
from elite_ops.nn.sequential import OnFeatures, SparseSequential

__all__ = [
    "FoldedConv",
    "GlobalAvgPool",
    "GlobalMaxPool",
    "OnFeatures",
    "SparseAvgPool2d",
    "SparseAvgPool3d",
    "SparseConv2d",
    "SparseConv3d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
    "SparseModule",
    "SparseSequential",
    "SubmanifoldConv2d",
    "SubmanifoldConv3d",
    "fold",
]
