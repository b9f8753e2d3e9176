"""The convolution layer."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from elite_ops.compat.torchsparse.nn.functional.conv import conv3d
from elite_ops.compat.torchsparse.tensor import SparseTensor
from elite_ops.compat.torchsparse.utils import make_ntuple
from elite_ops.compat.torchsparse.versions import convention, in_order_of_1_4

__all__ = ["Conv3d"]


class Conv3d(nn.Module):
    """torchsparse's convolution, with its parameters: weights load as they are.

    In 1.4 what stands behind `stride` is `dilation`, `bias`, `transposed`, `config`.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: between 1 and 7; like the next two one number, or one per axis.
        stride: cells between neighbouring outputs.
        padding: cells of zeros around the grid, of strided convolutions (2.1). Along an axis with
            stride 1 and an odd kernel it is half of the kernel in any case.
        dilation: torchsparse takes it, and ignores it; so does this, with a warning.
        bias: whether a learned bias is added.
        transposed: whether it goes back along an earlier convolution.
        generative: not supported.
        config: see `ConvConfig` (2.1).

    Attributes:
        kernel: [K, in_channels, out_channels]; [in_channels, out_channels] of one offset, with
            stride 1 or in 1.4. The order of offsets is that of `get_kernel_offsets`.
        bias: [out_channels], or None.
    """

    @in_order_of_1_4(
        "self",
        "in_channels",
        "out_channels",
        "kernel_size",
        "stride",
        "dilation",
        "bias",
        "transposed",
        "config",
    )
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int = 1,
        bias: bool = False,
        transposed: bool = False,
        generative: bool = False,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = make_ntuple(kernel_size, ndim=3)
        self.stride = make_ntuple(stride, ndim=3)
        self.dilation = dilation
        sides = zip(self.kernel_size, self.stride, make_ntuple(padding, ndim=3), strict=True)
        self.padding = tuple((n - 1) // 2 if n % 2 and s == 1 else p for n, s, p in sides)
        self.transposed = transposed
        self.generative = generative
        self._config = config
        self.kernel_volume = math.prod(self.kernel_size)
        if make_ntuple(dilation, ndim=3) != (1, 1, 1):
            warnings.warn("Conv3d: torchsparse ignores `dilation`, and so does this", stacklevel=2)
        is_strided = convention().counts_strides and max(self.stride) > 1
        shape: tuple[int, ...] = (in_channels, out_channels)
        if self.kernel_volume > 1 or is_strided:
            shape = (self.kernel_volume, *shape)
        self.kernel = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}"
        defaults = {"stride": (1, 1, 1), "dilation": 1, "transposed": False, "generative": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text if self.bias is not None else text + ", bias=False"

    def reset_parameters(self) -> None:
        channels = self.out_channels if self.transposed else self.in_channels
        bound = 1 / math.sqrt(channels * self.kernel_volume)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, input: SparseTensor) -> SparseTensor:
        return conv3d(
            input,
            self.kernel,
            kernel_size=self.kernel_size,
            bias=self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            config=self._config,
            transposed=self.transposed,
            generative=self.generative,
            training=self.training,
        )
