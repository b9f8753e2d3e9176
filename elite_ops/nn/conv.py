"""Convolution layers on sparse tensors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from elite_ops.nn.module import SparseModule
from elite_ops.ops.sparse_conv import sparse_conv
from elite_ops.sparse_tensor import SparseTensor
from elite_ops.triple import triple

__all__ = ["SubmanifoldConv3d"]


class SubmanifoldConv3d(SparseModule):
    """A convolution whose output voxels are its input voxels.

    At those voxels it equals `torch.nn.Conv3d` with `padding="same"` on the dense grid.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: odd; one number, or one per axis x, y, z.
        dilation: cells between neighbouring offsets; one number, or one per axis.
        bias: whether a learned bias is added.

    Attributes:
        weight: [k_x, k_y, k_z, in_channels, out_channels].
        bias: [out_channels], or None.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        *,
        dilation: int | Sequence[int] = 1,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = triple("SubmanifoldConv3d", "kernel_size", kernel_size)
        self.dilation = dilation
        shape = (*self.kernel_size, in_channels, out_channels)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The distribution of `torch.nn.Conv3d`: uniform within 1 / sqrt(fan_in)."""
        fan_in = self.in_channels * math.prod(self.kernel_size)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: SparseTensor) -> SparseTensor:
        kernel_map = x.kernel_map(self.kernel_size, self.dilation)
        return x.replace(sparse_conv(x.features, self.weight.flatten(0, 2), kernel_map, self.bias))

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"dilation={self.dilation}, bias={self.bias is not None}"
        )
