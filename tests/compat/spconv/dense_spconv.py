"""spconv's layers on dense grids and masks, by torch alone: the truth in tests without spconv."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CONVOLVE = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSE = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class SparseConvTensor:
    """[B, C, *shape] with zeros where the mask [B, 1, *shape] is."""

    def __init__(
        self, features: Tensor, indices: Tensor, spatial_shape: Any, batch_size: int
    ) -> None:
        places = tuple(indices.long().unbind(1))
        grid = features.new_zeros(batch_size, *spatial_shape, features.shape[1])
        self.grid = grid.index_put(places, features).movedim(-1, 1)
        self.mask = grid[..., :1].index_put(places, features.new_ones(len(features), 1))
        self.mask = self.mask.movedim(-1, 1)
        self.known: dict[str, Tensor] = {}

    @property
    def indices(self) -> Tensor:
        return self.mask[:, 0].nonzero().int()

    @property
    def features(self) -> Tensor:
        return self.grid.movedim(1, -1)[self.mask[:, 0] > 0]

    def replace_feature(self, features: Tensor) -> SparseConvTensor:
        out = SparseConvTensor(features, self.indices, self.grid.shape[2:], self.grid.shape[0])
        out.known = self.known
        return out

    def dense(self) -> Tensor:
        return self.grid

    def with_grid(self, grid: Tensor, mask: Tensor) -> SparseConvTensor:
        out = SparseConvTensor.__new__(SparseConvTensor)
        out.grid, out.mask, out.known = grid * mask, mask, dict(self.known)
        return out


class SparseModule(nn.Module):
    pass


class _Conv(SparseModule):
    num_axes = 3

    def __init__(self, c_in: int, c_out: int, kernel_size: Any, bias: bool = True) -> None:
        super().__init__()
        self.size = expand(kernel_size, self.num_axes)
        self.weight = nn.Parameter(torch.empty(c_out, *self.size, c_in))
        self.bias = nn.Parameter(torch.empty(c_out)) if bias else None

    def biased(self, grid: Tensor) -> Tensor:
        shape = (1, -1, *[1] * self.num_axes)
        return grid if self.bias is None else grid + self.bias.view(shape)


class SubMConv3d(_Conv):
    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        indice_key: str | None = None,
    ) -> None:
        super().__init__(c_in, c_out, kernel_size, bias)
        self.dilation = expand(dilation, self.num_axes)

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        weight = self.weight.movedim(-1, 1)
        if self.weight[0, ..., 0].numel() == 1:  # read as [C_in, C_out]
            c_out, c_in = weight.shape[:2]
            weight = self.weight.reshape(c_in, c_out).t().reshape(weight.shape)
        convolve: Any = CONVOLVE[self.num_axes]
        grid = convolve(x.grid, weight, padding="same", dilation=self.dilation)
        return x.with_grid(self.biased(grid), x.mask)


class SparseConv3d(_Conv):
    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        bias: bool = True,
        indice_key: str | None = None,
    ) -> None:
        super().__init__(c_in, c_out, kernel_size, bias)
        numbers = (expand(n, self.num_axes) for n in (stride, padding, dilation))
        self.options = dict(zip(("stride", "padding", "dilation"), numbers, strict=True))
        self.key = indice_key

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        convolve: Any = CONVOLVE[self.num_axes]
        ones = torch.ones_like(self.weight[:1, ..., :1]).movedim(-1, 1)
        mask = (convolve(x.mask, ones, **self.options) > 0.5).to(x.mask.dtype)
        grid = convolve(x.grid, self.weight.movedim(-1, 1), **self.options)
        out = x.with_grid(self.biased(grid), mask)
        if self.key is not None:
            out.known[self.key] = (x.mask, self.options)
        return out


class SparseInverseConv3d(_Conv):
    def __init__(
        self, c_in: int, c_out: int, kernel_size: Any, indice_key: str, bias: bool = True
    ) -> None:
        super().__init__(c_in, c_out, kernel_size, bias)
        self.key = indice_key

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        mask, options = x.known[self.key]
        transpose: Any = TRANSPOSE[self.num_axes]
        weight = self.weight.movedim(-1, 0)  # [C_in, C_out, *kernel_size]
        kept = transpose(x.grid, weight, **options)
        cut = [want - have for want, have in zip(mask.shape[2:], kept.shape[2:], strict=True)]
        grid = transpose(x.grid, weight, output_padding=cut, **options)
        return x.with_grid(self.biased(grid), mask)


class SparseSequential(nn.Sequential, SparseModule):
    def forward(self, x: Any) -> Any:
        for layer in self:
            plain = not isinstance(layer, SparseModule)
            x = x.replace_feature(layer(x.features)) if plain else layer(x)
        return x


class SubMConv1d(SubMConv3d):
    num_axes = 1


class SubMConv2d(SubMConv3d):
    num_axes = 2


class SparseConv1d(SparseConv3d):
    num_axes = 1


class SparseConv2d(SparseConv3d):
    num_axes = 2


class SparseInverseConv1d(SparseInverseConv3d):
    num_axes = 1


class SparseInverseConv2d(SparseInverseConv3d):
    num_axes = 2


def expand(value: Any, num_axes: int) -> tuple[int, ...]:
    return (value,) * num_axes if isinstance(value, int) else tuple(value)
