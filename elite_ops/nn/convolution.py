"""What all convolution layers on sparse tensors share."""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from elite_ops.arguments import integer
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.nn.module import SparseModule, check_sparse
from elite_ops.ops.sparse_conv import sparse_conv
from elite_ops.ops.sparse_depthwise_conv import sparse_depthwise_conv
from elite_ops.sparse_tensor import SparseTensor
from elite_ops.voxel_set import VoxelSet

__all__ = ["ConvolutionOnto", "SparseConvolution", "grouped_conv"]


class SparseConvolution(SparseModule):
    """What all convolutions have: the kernel's geometry, a weight for each offset, and a bias.

    Attributes:
        weight: [*kernel_size, in_channels / groups, out_channels]; of a transposed convolution
            [*kernel_size, in_channels, out_channels / groups].
        bias: [out_channels], or None.
    """

    num_axes: ClassVar[int]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        geometry: KernelGeometry,
        groups: int,
        bias: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        super().__init__()
        self.in_channels = self._integer("in_channels", in_channels)
        self.out_channels = self._integer("out_channels", out_channels)
        self.groups = self._integer("groups", groups)
        if self.groups == 0 or self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"{type(self).__name__}: `groups` must divide `in_channels` ({in_channels}) and "
                f"`out_channels` ({out_channels}), got {groups}"
            )
        self.geometry = geometry
        shape = (*geometry.kernel_size, *self.weight_channels())
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _integer(self, argument: str, value: int) -> int:
        name = type(self).__name__
        number = integer(name, argument, value)
        if number < 0:
            raise ValueError(f"{name}: `{argument}` must not be negative, got {number}")
        return number

    def weight_channels(self) -> tuple[int, int]:
        """The weight's last two dimensions, those of torch's layer of the same name."""
        return self.in_channels // self.groups, self.out_channels

    @property
    def kernel_size(self) -> tuple[int, ...]:
        return self.geometry.kernel_size

    @property
    def torch_weight(self) -> Tensor:
        """The weight as a view in the layout of torch's layer of the same name.

        [out_channels, in_channels / groups, *kernel_size]; of a transposed convolution
        [in_channels, out_channels / groups, *kernel_size]. It is what `torch.nn.init` expects, and
        what weights are copied from and to:

            nn.init.kaiming_normal_(conv.torch_weight)
            with torch.no_grad():
                conv.torch_weight.copy_(dense.weight)
        """
        return self.weight.permute(-1, -2, *range(self.num_axes))

    def reset_parameters(self) -> None:
        """The distribution of torch's layer whose weight has the layout of `torch_weight`.

        Uniform within 1 / sqrt(fan), where a transposed convolution has a fan of its outputs.
        """
        fan = math.prod(self.torch_weight.shape[1:])
        bound = 1 / math.sqrt(fan) if fan > 0 else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def check_input(self, x: SparseTensor) -> None:
        check_sparse(self, x)
        if x.features.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: `x` must have {self.in_channels} channels, got "
                f"{x.features.shape[1]}"
            )

    def connect(self, voxels: VoxelSet) -> tuple[VoxelSet, KernelMap]:
        """The output voxels, and the map that leads there."""
        return voxels.kernel_map(self.geometry)

    def convolve(self, features: Tensor, kernel_map: KernelMap) -> Tensor:
        """The features of the output voxels."""
        weight = self.weight.flatten(0, self.num_axes - 1)
        if self.groups == 1:
            return sparse_conv(features, weight, kernel_map, self.bias)
        return grouped_conv(features, weight, kernel_map, self.bias, self.groups)

    def forward(self, x: SparseTensor) -> SparseTensor:
        self.check_input(x)
        voxels, kernel_map = self.connect(x.voxels)
        return SparseTensor(self.convolve(x.features, kernel_map), voxels)

    def extra_repr(self) -> str:
        geometry = self.geometry
        parts = [f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"]
        defaults = KernelGeometry.of(1, num_axes=self.num_axes)
        for name in ("stride", "padding", "dilation", "output_padding"):
            is_padding = name == "padding" and geometry.submanifold
            if getattr(geometry, name) != getattr(defaults, name) and not is_padding:
                parts.append(f"{name}={getattr(geometry, name)}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        return ", ".join([*parts, f"bias={self.bias is not None}"])


class ConvolutionOnto(SparseConvolution):
    """A convolution that also computes at voxels that are given."""

    def forward(self, x: SparseTensor, output: VoxelSet | None = None) -> SparseTensor:
        """Convolves `x`; with `output`, onto these voxels instead of those that it reaches."""
        if output is None:
            return super().forward(x)
        self.check_input(x)
        kernel_map = x.voxels.kernel_map_onto(output, self.geometry)
        return SparseTensor(self.convolve(x.features, kernel_map), output)


def grouped_conv(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in / groups, C_out] or [K, C_in, C_out / groups]
    kernel_map: KernelMap,
    bias: Tensor | None,  # [C_out]
    groups: int,
) -> Tensor:  # [V_out, C_out]
    """Each group's outputs from its inputs alone, one convolution a group.

    With as many groups as input channels, each of which has several outputs, the convolution is
    depthwise on repeated channels.
    """
    if groups == features.shape[1]:
        repeated = features.repeat_interleave(weight.numel() // (weight.shape[0] * groups), dim=1)
        return sparse_depthwise_conv(repeated, weight.flatten(1), kernel_map, bias)
    parts = zip(
        features.chunk(groups, 1),
        weight.chunk(groups, 1 if weight.shape[1] == features.shape[1] else 2),
        [None] * groups if bias is None else bias.chunk(groups),
        strict=True,
    )
    return torch.cat([sparse_conv(f, w, kernel_map, b) for f, w, b in parts], 1)
