"""Pooling layers on sparse tensors, with the names and arguments of torch's dense ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.nn.module import SparseModule, check_sparse
from elite_ops.ops.sparse_pool import (
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)
from elite_ops.sparse_tensor import SparseTensor

__all__ = [
    "GlobalAvgPool",
    "GlobalMaxPool",
    "SparseAvgPool2d",
    "SparseAvgPool3d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
]


class _SparsePool(SparseModule):
    """What all pooling layers have: the kernel's geometry."""

    num_axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
    ) -> None:
        super().__init__()
        self.geometry = KernelGeometry.of(
            kernel_size,
            stride=kernel_size if stride is None else stride,
            padding=padding,
            dilation=dilation,
            num_axes=self.num_axes,
            op=type(self).__name__,
        )

    def extra_repr(self) -> str:
        geometry = self.geometry
        names = ("kernel_size", "stride", "padding", "dilation")
        return ", ".join(f"{name}={getattr(geometry, name)}" for name in names)


class _SparseMaxPool(_SparsePool):
    """Takes the largest value of each channel among the voxels under the kernel.

    Empty cells take no part: the maximum of negative features is negative. The output voxels are
    all cells that an input voxel reaches.

    Args:
        kernel_size: between 1 and 7; like the others one number, or one per axis.
        stride: cells between neighbouring outputs; by default the kernel's size.
        padding: empty cells around the grid.
        dilation: cells between neighbouring offsets.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        check_sparse(self, x)
        voxels, kernel_map = x.voxels.kernel_map(self.geometry)
        return SparseTensor(sparse_max_pool(x.features, kernel_map), voxels)


class _SparseAvgPool(_SparsePool):
    """Takes the mean of the voxels under the kernel: neither empty cells nor padding count.

    The output voxels are all cells that an input voxel reaches.

    Args:
        kernel_size: between 1 and 7; like the others one number, or one per axis.
        stride: cells between neighbouring outputs; by default the kernel's size.
        padding: empty cells around the grid.
        dilation: cells between neighbouring offsets.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        check_sparse(self, x)
        voxels, kernel_map = x.voxels.kernel_map(self.geometry)
        return SparseTensor(sparse_avg_pool(x.features, kernel_map), voxels)


class SparseMaxPool2d(_SparseMaxPool):
    __doc__ = _SparseMaxPool.__doc__
    num_axes = 2


class SparseMaxPool3d(_SparseMaxPool):
    __doc__ = _SparseMaxPool.__doc__
    num_axes = 3


class SparseAvgPool2d(_SparseAvgPool):
    __doc__ = _SparseAvgPool.__doc__
    num_axes = 2


class SparseAvgPool3d(_SparseAvgPool):
    __doc__ = _SparseAvgPool.__doc__
    num_axes = 3


class GlobalMaxPool(nn.Module):
    """The largest value of each channel in each sample, [B, C]; 0 for a sample without voxels."""

    def forward(self, x: SparseTensor) -> Tensor:
        check_sparse(self, x)
        return global_max_pool(x.features, x.voxels.in_3d()[0], x.batch_size)


class GlobalAvgPool(nn.Module):
    """The mean of each channel in each sample, [B, C]; 0 for a sample without voxels."""

    def forward(self, x: SparseTensor) -> Tensor:
        check_sparse(self, x)
        return global_avg_pool(x.features, x.voxels.in_3d()[0], x.batch_size)
