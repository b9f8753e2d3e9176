"""A chain of sparse and plain layers."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from elite_ops.nn.module import SparseModule, check_sparse
from elite_ops.sparse_tensor import SparseTensor

__all__ = ["OnFeatures", "SparseSequential"]


class SparseSequential(nn.Sequential, SparseModule):
    """Applies its layers in turn: torch's own (norms, activations, Linear) to the features.

    Every other module gets the `SparseTensor` and returns one; `OnFeatures` makes an exception for
    a module of plain tensors.

    Example:
        >>> from elite_ops.nn import SubmanifoldConv3d
        >>> block = SparseSequential(
        ...     SubmanifoldConv3d(4, 64, bias=False), nn.BatchNorm1d(64), nn.LeakyReLU(0.1)
        ... )
    """

    def forward(self, x: SparseTensor) -> SparseTensor:
        check_sparse(self, x)
        for name, module in zip(self._modules, self, strict=True):
            x = _apply(module, x, name)
        return x


class OnFeatures(SparseModule):
    """Applies a module of plain tensors to the features of a sparse one."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: SparseTensor) -> SparseTensor:
        check_sparse(self, x)
        return x.replace(self.module(x.features))


def _apply(module: nn.Module, x: SparseTensor, name: str) -> SparseTensor:
    original = getattr(module, "_orig_mod", module)  # of a compiled module
    if type(original) is nn.Sequential and module is original:
        for child_name, child in zip(module._modules, module, strict=True):
            x = _apply(child, x, f"{name}.{child_name}")
        return x
    if _is_plain(original):
        return x.replace(_on_features(module, x.features))
    advice = (
        f"SparseSequential: layer {name} ({type(original).__name__}) must take a SparseTensor and "
        "return one; wrap it in OnFeatures if it is of plain tensors"
    )
    try:
        out = module(x)
    except (AttributeError, TypeError) as error:
        if "SparseTensor" not in str(error):
            raise
        raise TypeError(f"{advice} ({error})") from error
    if not isinstance(out, SparseTensor):
        raise TypeError(f"{advice}; it returned {type(out).__name__}")
    return out


def _is_plain(module: nn.Module) -> bool:
    """Whether a module is one of torch's own, or made of them alone."""
    if isinstance(module, SparseModule):
        return False
    if isinstance(module, nn.Sequential):
        return all(map(_is_plain, module))
    kinds = [kind for kind in type(module).__mro__ if kind not in (nn.Module, object)]
    return any(kind.__module__.startswith("torch.") for kind in kinds)


def _on_features(module: nn.Module, features: Tensor) -> Tensor:
    if isinstance(module, _BatchNorm) and torch.compiler.is_compiling():
        if _uses_statistics_of_training(module):
            return _normalize(module, features)
        # Batch norm wants more than one row; said here, a compiler need not know their number.
        torch._check(features.shape[0] > 1)  # type: ignore[no-untyped-call]
    out: Tensor = module(features)
    return out


def _uses_statistics_of_training(norm: _BatchNorm) -> bool:
    is_plain = type(norm) in (nn.BatchNorm1d, nn.SyncBatchNorm)
    has_hooks = norm._forward_hooks or norm._forward_pre_hooks
    return is_plain and not (norm.training or norm.running_mean is None or has_hooks)


def _normalize(norm: _BatchNorm, features: Tensor) -> Tensor:
    """What `norm` does, without a look at whether there are rows, which a compiler can't know."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    wide = features.to(torch.promote_types(features.dtype, torch.float32))
    out = (wide - norm.running_mean) * (norm.running_var.to(wide.dtype) + norm.eps).rsqrt()
    if norm.affine:
        out = out * norm.weight + norm.bias
    return out.to(features.dtype)
