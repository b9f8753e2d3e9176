"""Containers, and what tells sparse layers from plain ones."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from elite_ops.compat.spconv.placeholder import placeholder
from elite_ops.compat.spconv.pytorch.core import SparseConvTensor

__all__ = [
    "PrintCurrentTime",
    "PrintTensorMeta",
    "RemoveGrid",
    "SparseBatchNorm",
    "SparseIdentity",
    "SparseModule",
    "SparseReLU",
    "SparseSequential",
    "SparseSyncBatchNorm",
    "ToDense",
    "assign_name_for_sparse_modules",
    "is_sparse_conv",
    "is_spconv_module",
]

PrintTensorMeta = placeholder("PrintTensorMeta", "use a forward hook to print a layer's features")
PrintCurrentTime = placeholder("PrintCurrentTime", "use torch.profiler to measure time")


class SparseModule(nn.Module):
    """A module that takes a `SparseConvTensor` in a `SparseSequential`."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__()
        self.name = name
        self._sparse_unique_name = ""

    def adapt_state(self, state_dict: dict[str, Any], prefix: str) -> None:
        """Brings the saved tensors of this module into its layout."""

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        # Here and not in the convolutions, since code that has weights of its own layout puts
        # another function in this one's place.
        self.adapt_state(state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *args)


class SparseSequential(SparseModule):
    """Applies its layers in turn: sparse modules to the tensor, all others to its features.

    Layers are arguments, one OrderedDict, keyword arguments, or added later. A tensor without
    voxels passes by layers of features, which may not take it. Compiled code takes for granted that
    there are several, as batch norms do.
    """

    def __init__(self, *args: Any, **kwargs: nn.Module) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], OrderedDict):
            layers = list(args[0].items())
        else:
            layers = [(str(place), layer) for place, layer in enumerate(args)]
        for name, layer in [*layers, *kwargs.items()]:
            if name in self._modules:
                raise ValueError(f"SparseSequential: there is a layer {name!r} already")
            self.add_module(name, layer)

    def __getitem__(self, idx: int) -> nn.Module:
        if not -len(self) <= idx < len(self):
            raise IndexError(f"SparseSequential: index {idx} is out of range of {len(self)} layers")
        layer = list(self._modules.values())[idx]
        assert layer is not None
        return layer

    def __len__(self) -> int:
        return len(self._modules)

    def add(self, module: nn.Module, name: str | None = None) -> None:
        """Appends a layer; by default its number is its name."""
        name = str(len(self)) if name is None else name
        if name in self._modules:
            raise KeyError(f"SparseSequential: there is a layer {name!r} already")
        self.add_module(name, module)

    def forward(self, input: Any) -> Any:
        for layer in self._modules.values():
            assert layer is not None
            if is_spconv_module(layer) or not isinstance(input, SparseConvTensor):
                input = layer(input)
            elif _has_voxels(input):
                input = input.replace_feature(layer(input.features))
        return input


def _has_voxels(x: SparseConvTensor) -> bool:
    number = x.features.shape[0]
    if torch.compiler.is_compiling():
        torch._check(number > 1)  # type: ignore[no-untyped-call]
        return True
    return number != 0


class ToDense(SparseModule):
    """The whole grids, [B, C, *spatial_shape]."""

    def forward(self, x: SparseConvTensor) -> Tensor:
        return x.dense()


class RemoveGrid(SparseModule):
    """Drops the buffer of 1.x."""

    def forward(self, x: SparseConvTensor) -> SparseConvTensor:
        x.grid = torch.Tensor()
        return x


class _OnFeatures(nn.Module):
    """A layer of torch's that also takes a `SparseConvTensor`."""

    def forward(self, input: Any) -> Any:
        if isinstance(input, SparseConvTensor):
            return input.replace_feature(super().forward(input.features))
        return super().forward(input)


class SparseBatchNorm(_OnFeatures, nn.BatchNorm1d):
    pass


class SparseSyncBatchNorm(_OnFeatures, nn.SyncBatchNorm):
    pass


class SparseReLU(_OnFeatures, nn.ReLU):
    pass


class SparseIdentity(_OnFeatures, nn.Identity):
    pass


def is_spconv_module(module: Any) -> bool:
    """Whether a `SparseSequential` gives a module the whole tensor."""
    return isinstance(module, SparseModule | _OnFeatures)


def is_sparse_conv(module: Any) -> bool:
    from elite_ops.compat.spconv.pytorch.conv import SparseConvolution

    return isinstance(module, SparseConvolution)


def assign_name_for_sparse_modules(module: nn.Module) -> None:
    """Tells each sparse module its name."""
    for name, part in module.named_modules():
        if isinstance(part, SparseModule):
            part._sparse_unique_name = name
