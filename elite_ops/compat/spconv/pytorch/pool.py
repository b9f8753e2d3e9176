"""Pooling layers under spconv's names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torch import Tensor

from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.pytorch.connect import connect, geometry_of, remember
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.modules import SparseModule
from elite_ops.compat.spconv.pytorch.voxel_count import VoxelCount
from elite_ops.ops.sparse_pool import (
    global_avg_pool,
    global_max_pool,
    sparse_avg_pool,
    sparse_max_pool,
)
from elite_ops.per_axis import per_axis

__all__ = [
    "SparseAvgPool",
    "SparseAvgPool1d",
    "SparseAvgPool2d",
    "SparseAvgPool3d",
    "SparseGlobalAvgPool",
    "SparseGlobalMaxOrAvgPool",
    "SparseGlobalMaxPool",
    "SparseMaxPool",
    "SparseMaxPool1d",
    "SparseMaxPool2d",
    "SparseMaxPool3d",
    "SparseMaxPool4d",
]


class _SparsePool(VoxelCount, SparseModule):
    """What pooling layers share."""

    pool: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        ndim: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] | None = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        indice_key: str | None = None,
        subm: bool = False,
        algo: ConvAlgo | None = None,
        record_voxel_count: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        kind = type(self).__name__
        self.ndim = ndim
        self.kernel_size = list(per_axis(kind, "kernel_size", kernel_size, ndim))
        stride = self.kernel_size if stride is None else stride
        self.stride = list(per_axis(kind, "stride", stride, ndim))
        self.padding = list(per_axis(kind, "padding", padding, ndim))
        self.dilation = list(per_axis(kind, "dilation", dilation, ndim))
        self.subm = subm
        self.indice_key = indice_key
        num_offsets = math.prod(self.kernel_size)
        self.algo = ConvAlgo.MaskImplicitGemm if num_offsets <= 128 else ConvAlgo.Native
        self.algo = algo or self.algo
        geometry_of(self)  # which checks
        self.record_voxels(record_voxel_count and not subm)

    def forward(self, input: SparseConvTensor) -> SparseConvTensor:
        data = connect(self, input, geometry_of(self))
        known = remember(self, input, data)
        features = type(self).pool(input.features, data.kernel_map)
        out = input.at(data.out_sites, data.out_indices, data.out_spatial_shape, features)
        out.indice_dict = known
        if not self.subm:
            self.count_voxels(out.indices.shape[0])
        return out

    def extra_repr(self) -> str:
        names = ("kernel_size", "stride", "padding", "dilation", "algo")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class SparseMaxPool(_SparsePool):
    """The largest value of each channel among the voxels under the kernel.

    Empty cells take no part, as on spconv's GPU path: a maximum of negative features is negative.
    """

    pool = staticmethod(sparse_max_pool)


class SparseAvgPool(_SparsePool):
    """The mean of the voxels under the kernel: empty cells do not count."""

    pool = staticmethod(sparse_avg_pool)


class _ByAxes(_SparsePool):
    """Pooling along a number of axes that the class says; by default the stride is the kernel."""

    num_axes: ClassVar[int]

    def __init__(
        self,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] | None = None,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        record_voxel_count: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            self.num_axes,
            kernel_size,
            stride,
            padding,
            dilation,
            indice_key=indice_key,
            algo=algo,
            record_voxel_count=record_voxel_count,
            name=name,
        )


class SparseMaxPool1d(_ByAxes, SparseMaxPool):
    __doc__ = SparseMaxPool.__doc__
    num_axes = 1


class SparseMaxPool2d(_ByAxes, SparseMaxPool):
    __doc__ = SparseMaxPool.__doc__
    num_axes = 2


class SparseMaxPool3d(_ByAxes, SparseMaxPool):
    __doc__ = SparseMaxPool.__doc__
    num_axes = 3


class SparseMaxPool4d(_ByAxes, SparseMaxPool):
    """Raises: layers have up to three axes."""

    num_axes = 4


class SparseAvgPool1d(_ByAxes, SparseAvgPool):
    __doc__ = SparseAvgPool.__doc__
    num_axes = 1


class SparseAvgPool2d(_ByAxes, SparseAvgPool):
    __doc__ = SparseAvgPool.__doc__
    num_axes = 2


class SparseAvgPool3d(_ByAxes, SparseAvgPool):
    __doc__ = SparseAvgPool.__doc__
    num_axes = 3


class SparseGlobalMaxOrAvgPool(SparseModule):
    """Reduces all voxels of each sample to one row, [B, C]; 0 for a sample without voxels."""

    def __init__(self, is_mean: bool, name: str | None = None) -> None:
        super().__init__(name=name)
        self.is_mean = is_mean

    def forward(self, input: SparseConvTensor) -> Tensor:
        reduce: Any = global_avg_pool if self.is_mean else global_max_pool
        indices = input.voxels.in_3d()[0]
        result: Tensor = reduce(input.features, indices, input.voxels.batch_size)
        return result


class SparseGlobalMaxPool(SparseGlobalMaxOrAvgPool):
    """The largest value of each channel in each sample."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(is_mean=False, name=name)


class SparseGlobalAvgPool(SparseGlobalMaxOrAvgPool):
    """The mean of each channel in each sample."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(is_mean=True, name=name)


ALL_POOL_LAYERS: set[Any] = {
    SparseAvgPool,
    SparseAvgPool1d,
    SparseAvgPool2d,
    SparseAvgPool3d,
    SparseMaxPool,
    SparseMaxPool1d,
    SparseMaxPool2d,
    SparseMaxPool3d,
    SparseMaxPool4d,
}
