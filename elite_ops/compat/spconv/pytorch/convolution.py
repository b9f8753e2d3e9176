"""What all of spconv's convolutions share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.pytorch.connect import (
    connect,
    geometry_of,
    inverse_of,
    remember,
    reuse,
)
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.modules import SparseModule
from elite_ops.compat.spconv.pytorch.voxel_count import VoxelCount
from elite_ops.compat.spconv.pytorch.weights import in_layout_of_2
from elite_ops.kernel_map import KernelMap
from elite_ops.ops.sparse_conv import sparse_conv
from elite_ops.per_axis import per_axis

__all__ = ["SparseConvolution"]


class SparseConvolution(VoxelCount, SparseModule):
    """A convolution of any kind; `SubMConv3d` and its relatives say which.

    A kernel of one cell and stride is a product with the weight, read as [C_in, C_out] whatever
    its shape, at the same voxels; this is so in spconv, and in all weights that it trained.

    Attributes:
        weight: [out_channels, *kernel_size, in_channels]; weights [*kernel_size, in_channels,
            out_channels] of spconv 1.x become so when they are loaded.
        bias: [out_channels], or None.
    """

    def __init__(
        self,
        ndim: int,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 3,
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
        subm: bool = False,
        output_padding: int | Sequence[int] = 0,
        transposed: bool = False,
        inverse: bool = False,
        indice_key: str | None = None,
        algo: ConvAlgo | None = None,
        fp32_accum: bool | None = None,
        record_voxel_count: bool = False,
        act_type: Any = None,
        act_alpha: float = 0,
        act_beta: float = 0,
        large_kernel_fast_algo: bool = False,
        name: str | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(name=name)
        kind = type(self).__name__
        if groups != 1:
            raise NotImplementedError(f"{kind}: `groups` must be 1, got {groups}")
        if act_type is not None and getattr(act_type, "name", "") != "None_":
            raise NotImplementedError(f"{kind}: put the activation behind the layer")
        self.ndim = ndim
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = list(per_axis(kind, "kernel_size", kernel_size, ndim))
        self.stride = list(per_axis(kind, "stride", stride, ndim))
        self.padding = list(per_axis(kind, "padding", padding, ndim))
        self.dilation = list(per_axis(kind, "dilation", dilation, ndim))
        self.output_padding = list(per_axis(kind, "output_padding", output_padding, ndim))
        self.groups = groups
        self.subm = subm
        self.transposed = transposed
        self.inverse = inverse
        self.indice_key = indice_key
        num_offsets = math.prod(self.kernel_size)
        self.conv1x1 = num_offsets == 1 and (subm or math.prod(self.stride) == 1)
        self.algo = ConvAlgo.MaskImplicitGemm if num_offsets <= 32 else ConvAlgo.Native
        self.algo = algo or self.algo
        self.fp32_accum = fp32_accum
        self._check()
        self.record_voxels(record_voxel_count and not (subm or inverse), device)
        shape = (out_channels, *self.kernel_size, in_channels)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.bias = (
            nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype)) if bias else None
        )
        self.reset_parameters()

    def _check(self) -> None:
        if self.conv1x1 and not self.subm and any(self.padding):
            raise ValueError(
                f"{type(self).__name__}: `padding` must be 0 where kernel and stride are 1, got "
                f"{self.padding}"
            )
        self._geometry()

    def _geometry(self) -> Any:
        return geometry_of(self, transposed=self.transposed, output_padding=self.output_padding)

    def is_inverseable(self) -> bool:
        return self.indice_key is not None and not self.subm

    def reset_parameters(self) -> None:
        """Uniform within 1 / sqrt(fan_in), the weight first, as in spconv."""
        fan_in = self.in_channels * math.prod(self.kernel_size)
        bound = 1 / math.sqrt(fan_in) if fan_in > 0 else 0.0
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def adapt_state(self, state_dict: dict[str, Any], prefix: str) -> None:
        super().adapt_state(state_dict, prefix)
        key = f"{prefix}weight"
        if key in state_dict:
            state_dict[key] = in_layout_of_2(state_dict[key], self.weight.shape, self.conv1x1)

    def forward(
        self, input: SparseConvTensor, add_input: SparseConvTensor | None = None
    ) -> SparseConvTensor:
        if input.features.shape[1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__}: `features` must have {self.in_channels} channels, got "
                f"{input.features.shape[1]}"
            )
        if self.conv1x1:
            out = self._pointwise(input)
        elif self.inverse:
            out = self._inverse(input)
        else:
            out = self._forward(input)
        return out if add_input is None else out + add_input

    def _pointwise(self, x: SparseConvTensor) -> SparseConvTensor:
        matrix = self.weight.reshape(self.in_channels, self.out_channels)
        return x.replace_feature(nn.functional.linear(x.features, matrix.t(), self.bias))

    def _forward(self, x: SparseConvTensor) -> SparseConvTensor:
        data = reuse(self, x) if self.subm else None
        data = data or connect(self, x, self._geometry())
        known = remember(self, x, data)
        features = self._convolve(x.features, data.kernel_map)
        if self.subm:
            out = x.replace_feature(features)
        else:
            out = x.at(data.out_sites, data.out_indices, data.out_spatial_shape, features)
            self.count_voxels(out.indices.shape[0])
        out.indice_dict = known
        return out

    def _inverse(self, x: SparseConvTensor) -> SparseConvTensor:
        data = inverse_of(self, x)
        features = self._convolve(x.features, data.kernel_map.swapped())
        return x.at(data.sites, data.indices, data.spatial_shape, features)

    def _convolve(self, features: Tensor, kernel_map: KernelMap) -> Tensor:
        weight = self.weight.flatten(1, self.ndim).permute(1, 2, 0)  # [K, C_in, C_out]
        met = weight[: kernel_map.num_offsets]  # all, but where another kernel's map is used
        return sparse_conv(features, met, kernel_map, self.bias)

    def extra_repr(self) -> str:
        parts = [f"{self.in_channels}, {self.out_channels}"]
        for name in ("kernel_size", "stride", "padding", "dilation", "output_padding"):
            parts.append(f"{name}={getattr(self, name)}")
        if self.bias is None:
            parts.append("bias=False")
        return ", ".join([*parts, f"algo={self.algo}"])
