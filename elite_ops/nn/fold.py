"""A network for inference, with norms and activations inside its convolutions."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from elite_ops.autocast import autocast
from elite_ops.nn import conv as layers_of_conv
from elite_ops.nn.convolution import SparseConvolution
from elite_ops.nn.module import SparseModule
from elite_ops.nn.sequential import SparseSequential
from elite_ops.ops.sparse_conv import sparse_conv_fused
from elite_ops.sparse_tensor import SparseTensor

__all__ = ["FoldedConv", "fold"]

Network = TypeVar("Network", bound=nn.Module)
CONVOLUTIONS = tuple(getattr(layers_of_conv, name) for name in layers_of_conv.__all__)
NORMS = (nn.BatchNorm1d, nn.SyncBatchNorm)


def fold(module: Network) -> Network:
    """A copy of a network for inference, whose convolutions do what stands behind them.

    In each `SparseSequential` and `nn.Sequential`, nested ones included, a batch norm behind a
    convolution goes into its weight and bias, and a ReLU or LeakyReLU behind both, or behind the
    convolution, into its kernel (`sparse_conv_fused`); convolutions in groups keep the activation
    behind them. An `nn.Identity` takes the place of each layer that is gone, so that the others
    keep their names. Results equal those of the network up to rounding.

    Layers stay as they are where they are of another class, subclasses included, or have hooks; a
    norm, if it has no running statistics, or what comes in is not a convolution's output.

    No parameter of the copy needs a gradient. Its folded layers are `FoldedConv`, which raise a
    RuntimeError in training mode, or for features that need a gradient.

    Args:
        module: any network; it isn't changed.

    Raises:
        ValueError: if the network, or a part of it, is in training mode.
        TypeError: if `module` is no module.
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"fold: `module` must be an nn.Module, got {type(module).__name__}")
    for name, part in module.named_modules():
        if part.training:
            where = f"layer {name}" if name else "the network"
            raise ValueError(
                f"fold: `module` must be in evaluation mode, got {where} "
                f"({type(part).__name__}) in training mode"
            )
    network = copy.deepcopy(module).requires_grad_(False)
    _fold_inside(network, set())
    return network


class FoldedConv(SparseModule):
    """A convolution and what stood behind it, for inference; made by `fold`.

    Args:
        conv: the convolution; it isn't changed.
        norm: a batch norm whose running statistics go into weight and bias.
        negative_slope: of the activation, 1 for none; convolutions in groups have none.
    """

    def __init__(
        self, conv: SparseConvolution, norm: nn.Module | None = None, negative_slope: float = 1.0
    ) -> None:
        super().__init__()
        weight, bias = _fold_norm(conv, norm)
        self.conv = copy.deepcopy(conv)
        for name, value in (("weight", weight), ("bias", bias)):
            delattr(self.conv, name)
            self.conv.register_buffer(name, value.to(conv.weight.dtype))
        self.negative_slope = negative_slope
        self.eval()

    def forward(self, x: SparseTensor) -> SparseTensor:
        self.conv.check_input(x)
        if self.training or (torch.is_grad_enabled() and x.features.requires_grad):
            raise RuntimeError(
                "FoldedConv: is for inference; call it in evaluation mode and under "
                "torch.no_grad(), or train the network that it was folded from"
            )
        voxels, kernel_map = self.conv.connect(x.voxels)
        if self.conv.groups != 1:
            return SparseTensor(self.conv.convolve(x.features, kernel_map), voxels)
        weight = self.conv.weight.flatten(0, self.conv.num_axes - 1)
        features, weight, bias = autocast(x.features, weight, self.conv.bias)
        out = sparse_conv_fused(
            features, weight, kernel_map, bias, negative_slope=self.negative_slope
        )
        return SparseTensor(out, voxels)

    def extra_repr(self) -> str:
        return f"negative_slope={self.negative_slope}"


def _fold_norm(conv: SparseConvolution, norm: nn.Module | None) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution with the norm behind it, in float64."""
    weight = conv.weight.detach().double()
    bias = weight.new_zeros(conv.out_channels) if conv.bias is None else conv.bias.detach().double()
    if norm is None:
        return weight, bias
    assert isinstance(norm, NORMS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.detach().double()
    bias = (bias - norm.running_mean.double()) * scale
    if norm.affine:
        bias = bias + norm.bias.detach().double()
    if weight.shape[-1] != conv.out_channels:  # transposed, each group's outputs for its inputs
        scale = scale.view(conv.groups, -1).repeat_interleave(conv.in_channels // conv.groups, 0)
    return weight * scale, bias


class _Place(NamedTuple):
    """Where a layer stands in a chain."""

    chain: nn.Sequential
    name: str

    @property
    def layer(self) -> nn.Module:
        layer: nn.Module = getattr(self.chain, self.name)
        return layer


def _fold_inside(module: nn.Module, seen: set[nn.Module]) -> None:
    """Folds all chains below a module, and the module itself if it is one; each once."""
    if module in seen:
        return
    seen.add(module)
    if not _is_chain(module):
        for child in module.children():
            _fold_inside(child, seen)
        return
    places = list(_places(module))
    folded = _fold_layers([place.layer for place in places])
    for place, layer in zip(places, folded, strict=True):
        setattr(place.chain, place.name, layer)
        _fold_inside(layer, seen)


def _is_chain(module: nn.Module) -> bool:
    return type(module) in (nn.Sequential, SparseSequential) and not _has_hooks(module)


def _places(chain: nn.Module) -> Iterator[_Place]:
    """The places of a chain and of those nested in it, which it shares with nobody from here on."""
    assert isinstance(chain, nn.Sequential)
    for name, layer in list(chain._modules.items()):
        assert layer is not None
        if not _is_chain(layer):
            yield _Place(chain, name)
            continue
        own = copy.copy(layer)
        own._modules = dict(layer._modules)
        setattr(chain, name, own)
        yield from _places(own)


def _fold_layers(layers: Sequence[nn.Module]) -> list[nn.Module]:
    folded = list(layers)
    for start, conv in enumerate(layers):
        if type(conv) not in CONVOLUTIONS or _has_hooks(conv):
            continue
        assert isinstance(conv, SparseConvolution)
        end = start + 1
        norm = _norm_at(layers, end, conv)
        end += norm is not None
        slope = _slope_at(layers, end) if conv.groups == 1 else None
        end += slope is not None
        if end > start + 1:
            gone = [nn.Identity().eval() for _ in range(end - start - 1)]
            layer = FoldedConv(conv, norm, 1.0 if slope is None else slope)
            folded[start:end] = [layer, *gone]
    return folded


def _norm_at(layers: Sequence[nn.Module], at: int, conv: SparseConvolution) -> nn.Module | None:
    """The norm at a place, if there is one that can be folded."""
    norm = layers[at] if at < len(layers) else None
    if not isinstance(norm, NORMS) or type(norm) not in NORMS or _has_hooks(norm):
        return None
    fits = norm.running_mean is not None and norm.num_features == conv.out_channels
    return norm if fits else None


def _slope_at(layers: Sequence[nn.Module], at: int) -> float | None:
    """The slope below zero of the activation at a place, if there is one."""
    layer = layers[at] if at < len(layers) else None
    if layer is None or _has_hooks(layer):
        return None
    if type(layer) is nn.LeakyReLU:
        return layer.negative_slope
    return 0.0 if type(layer) is nn.ReLU else None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)
