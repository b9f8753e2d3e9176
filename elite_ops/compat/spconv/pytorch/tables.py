"""Layers with several inputs, or several outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from elite_ops.compat.spconv.pytorch.core import SparseConvTensor
from elite_ops.compat.spconv.pytorch.functional import sparse_add
from elite_ops.compat.spconv.pytorch.modules import SparseModule

__all__ = ["AddTable", "AddTableMisaligned", "ConcatTable", "JoinTable"]


class _Table(SparseModule):
    def input_spatial_size(self, out_size: Any) -> Any:
        return out_size

    def _check(self, tensors: Sequence[SparseConvTensor], names: Sequence[str]) -> None:
        for name in names:
            first, *others = [_size(name, x) for x in tensors]
            for other in others:
                if other != first:
                    raise ValueError(
                        f"{type(self).__name__}: tensors must have the same {name}, got {first} "
                        f"and {other}"
                    )


class JoinTable(_Table):
    """The channels of tensors at the same voxels one after the other."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        self._check(input, ("spatial_shape", "batch_size", "number of voxels"))
        return input[0].replace_feature(torch.cat([x.features for x in input], 1))


class AddTable(_Table):
    """The sum of tensors at the same voxels, row by row."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        names = ("spatial_shape", "batch_size", "number of voxels", "number of channels")
        self._check(input, names)
        first, *others = [x.features for x in input]
        return input[0].replace_feature(sum(others, first))


class AddTableMisaligned(_Table):
    """The sum of tensors at different voxels."""

    def forward(self, input: Sequence[SparseConvTensor]) -> SparseConvTensor:
        return sparse_add(*input)


class ConcatTable(_Table):
    """The list of what each of its layers makes of the same input."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        for layer in layers:
            self.add(layer)

    def forward(self, input: Any) -> list[Any]:
        return [layer(input) for layer in self.children()]

    def add(self, module: nn.Module) -> ConcatTable:
        self.add_module(str(len(self._modules)), module)
        return self

    def input_spatial_size(self, out_size: Any) -> Any:
        first: Any = self._modules["0"]
        return first.input_spatial_size(out_size)


def _size(name: str, x: SparseConvTensor) -> Any:
    if name == "number of voxels":
        return x.indices.shape[0]
    return x.features.shape[1] if name == "number of channels" else getattr(x, name)
