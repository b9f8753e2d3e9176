"""Convolution layers under spconv's names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.pytorch.convolution import SparseConvolution

__all__ = [
    "DEFAULT_SPARSE_CONV_TYPES",
    "SparseConv1d",
    "SparseConv2d",
    "SparseConv3d",
    "SparseConv4d",
    "SparseConvTranspose1d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseConvTranspose4d",
    "SparseConvolution",
    "SparseInverseConv1d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SparseInverseConv4d",
    "SubMConv1d",
    "SubMConv2d",
    "SubMConv3d",
    "SubMConv4d",
]


class _SubMConv(SparseConvolution):
    """A convolution at its input's voxels. `stride` and `padding` are ignored, as in spconv.

    Layers with the same `indice_key` must have the same kernel and dilation, and voxels.
    """

    num_axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            self.num_axes,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            subm=True,
            indice_key=indice_key,
            algo=algo,
            fp32_accum=fp32_accum,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


class _SparseConv(SparseConvolution):
    """A convolution at all cells that an input voxel reaches, in order of their indices.

    With an `indice_key`, a `SparseInverseConv` can undo it.
    """

    num_axes: ClassVar[int]
    is_transposed: ClassVar[bool] = False

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            self.num_axes,
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            groups,
            bias,
            transposed=self.is_transposed,
            indice_key=indice_key,
            algo=algo,
            fp32_accum=fp32_accum,
            record_voxel_count=record_voxel_count,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


class _SparseConvTranspose(_SparseConv):
    """A transposed convolution at all cells that an input voxel reaches."""

    is_transposed = True


class _SparseInverseConv(SparseConvolution):
    """The way back to the voxels from which the convolution or pooling of `indice_key` came."""

    num_axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        indice_key: str | None = None,
        bias: bool = True,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
    ) -> None:
        super().__init__(
            self.num_axes,
            in_channels,
            out_channels,
            kernel_size,
            bias=bias,
            inverse=True,
            indice_key=indice_key,
            algo=algo,
            fp32_accum=fp32_accum,
            large_kernel_fast_algo=large_kernel_fast_algo,
            name=name,
        )


class SubMConv1d(_SubMConv):
    __doc__ = _SubMConv.__doc__
    num_axes = 1


class SubMConv2d(_SubMConv):
    __doc__ = _SubMConv.__doc__
    num_axes = 2


class SubMConv3d(_SubMConv):
    __doc__ = _SubMConv.__doc__
    num_axes = 3


class SparseConv1d(_SparseConv):
    __doc__ = _SparseConv.__doc__
    num_axes = 1


class SparseConv2d(_SparseConv):
    __doc__ = _SparseConv.__doc__
    num_axes = 2


class SparseConv3d(_SparseConv):
    __doc__ = _SparseConv.__doc__
    num_axes = 3


class SparseConvTranspose1d(_SparseConvTranspose):
    __doc__ = _SparseConvTranspose.__doc__
    num_axes = 1


class SparseConvTranspose2d(_SparseConvTranspose):
    __doc__ = _SparseConvTranspose.__doc__
    num_axes = 2


class SparseConvTranspose3d(_SparseConvTranspose):
    __doc__ = _SparseConvTranspose.__doc__
    num_axes = 3


class SparseInverseConv1d(_SparseInverseConv):
    __doc__ = _SparseInverseConv.__doc__
    num_axes = 1


class SparseInverseConv2d(_SparseInverseConv):
    __doc__ = _SparseInverseConv.__doc__
    num_axes = 2


class SparseInverseConv3d(_SparseInverseConv):
    __doc__ = _SparseInverseConv.__doc__
    num_axes = 3


class SubMConv4d(_SubMConv):
    """Raises: layers have up to three axes."""

    num_axes = 4


class SparseConv4d(_SparseConv):
    """Raises: layers have up to three axes."""

    num_axes = 4


class SparseConvTranspose4d(_SparseConvTranspose):
    """Raises: layers have up to three axes."""

    num_axes = 4


class SparseInverseConv4d(_SparseInverseConv):
    """Raises: layers have up to three axes."""

    num_axes = 4


DEFAULT_SPARSE_CONV_TYPES: set[Any] = {
    SubMConv1d,
    SubMConv2d,
    SubMConv3d,
    SubMConv4d,
    SparseConv1d,
    SparseConv2d,
    SparseConv3d,
    SparseConv4d,
    SparseInverseConv1d,
    SparseInverseConv2d,
    SparseInverseConv3d,
    SparseInverseConv4d,
    SparseConvTranspose1d,
    SparseConvTranspose2d,
    SparseConvTranspose3d,
    SparseConvTranspose4d,
}
