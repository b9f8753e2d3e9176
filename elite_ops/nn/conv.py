"""Convolution layers on sparse tensors, with the names and arguments of torch's dense ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.nn.convolution import ConvolutionOnto, SparseConvolution
from elite_ops.voxel_set import VoxelSet

__all__ = [
    "SparseConv2d",
    "SparseConv3d",
    "SparseConvTranspose2d",
    "SparseConvTranspose3d",
    "SparseInverseConv2d",
    "SparseInverseConv3d",
    "SubmanifoldConv2d",
    "SubmanifoldConv3d",
]


class _SubmanifoldConv(SparseConvolution):
    """A convolution whose output voxels are its input voxels.

    At those voxels it equals torch's with `padding="same"` on the dense grid.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: between 1 and 7; one number, or one per axis.
        dilation: cells between neighbouring offsets; one number, or one per axis.
        groups: how many groups of input channels have outputs of their own; with `in_channels`
            groups, the convolution is depthwise.
        bias: whether a learned bias is added.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        *,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        geometry = KernelGeometry.of_submanifold(
            kernel_size, dilation=dilation, num_axes=self.num_axes, op=type(self).__name__
        )
        super().__init__(in_channels, out_channels, geometry, groups, bias, device, dtype)


class _SparseConv(ConvolutionOnto):
    """A convolution whose output voxels are all cells that an input voxel reaches.

    At those voxels it equals torch's on the dense grid, and elsewhere torch's is the bias.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: between 1 and 7; like the next three one number, or one per axis.
        stride: cells between neighbouring outputs.
        padding: cells of zeros around the grid.
        dilation: cells between neighbouring offsets.
        groups: how many groups of input channels have outputs of their own; with `in_channels`
            groups, the convolution is depthwise.
        bias: whether a learned bias is added.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

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
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        geometry = KernelGeometry.of(
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            num_axes=self.num_axes,
            op=type(self).__name__,
        )
        super().__init__(in_channels, out_channels, geometry, groups, bias, device, dtype)


class _SparseConvTranspose(ConvolutionOnto):
    """A transposed convolution whose output voxels are all cells that an input voxel reaches.

    At those voxels it equals torch's on the dense grid. It makes voxels where there were none, as
    generative networks need it; `SparseInverseConv` goes back to voxels that there were.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: between 1 and 7; like the others one number, or one per axis.
        stride: cells between the first cells that neighbouring inputs reach.
        padding: cells that are cut off around the output.
        output_padding: cells more at the end of the output grid.
        groups: how many groups of input channels have outputs of their own.
        bias: whether a learned bias is added.
        dilation: cells between neighbouring offsets.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        output_padding: int | Sequence[int] = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: int | Sequence[int] = 1,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        geometry = KernelGeometry.of(
            kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            output_padding=output_padding,
            transposed=True,
            num_axes=self.num_axes,
            op=type(self).__name__,
        )
        super().__init__(in_channels, out_channels, geometry, groups, bias, device, dtype)

    def weight_channels(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups

    @property
    def torch_weight(self) -> Tensor:
        return self.weight.permute(-2, -1, *range(self.num_axes))


class _SparseInverseConv(SparseConvolution):
    """The way back: from the output voxels of a convolution to its input voxels.

    It is the transposed convolution, at the voxels that the convolution which made these came from.
    That one is found by itself: layers in between must not change the voxels.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: that of the convolution.
        groups: how many groups of input channels have outputs of their own.
        bias: whether a learned bias is added.

    Raises:
        ValueError, TypeError: if a number makes no sense.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        *,
        groups: int = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        geometry = KernelGeometry.of(
            kernel_size, transposed=True, num_axes=self.num_axes, op=type(self).__name__
        )
        super().__init__(in_channels, out_channels, geometry, groups, bias, device, dtype)

    def connect(self, voxels: VoxelSet) -> tuple[VoxelSet, KernelMap]:
        output, kernel_map = voxels.origin
        if kernel_map.geometry.kernel_size != self.kernel_size:
            raise ValueError(
                f"{type(self).__name__}: `kernel_size` must be that of the convolution that made "
                f"the voxels, {kernel_map.geometry.kernel_size}, got {self.kernel_size}"
            )
        return output, kernel_map.swapped()


class SubmanifoldConv2d(_SubmanifoldConv):
    __doc__ = _SubmanifoldConv.__doc__
    num_axes = 2


class SubmanifoldConv3d(_SubmanifoldConv):
    __doc__ = _SubmanifoldConv.__doc__
    num_axes = 3


class SparseConv2d(_SparseConv):
    __doc__ = _SparseConv.__doc__
    num_axes = 2


class SparseConv3d(_SparseConv):
    __doc__ = _SparseConv.__doc__
    num_axes = 3


class SparseConvTranspose2d(_SparseConvTranspose):
    __doc__ = _SparseConvTranspose.__doc__
    num_axes = 2


class SparseConvTranspose3d(_SparseConvTranspose):
    __doc__ = _SparseConvTranspose.__doc__
    num_axes = 3


class SparseInverseConv2d(_SparseInverseConv):
    __doc__ = _SparseInverseConv.__doc__
    num_axes = 2


class SparseInverseConv3d(_SparseInverseConv):
    __doc__ = _SparseInverseConv.__doc__
    num_axes = 3
