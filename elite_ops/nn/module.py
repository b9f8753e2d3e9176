"""What tells layers on sparse tensors from torch's layers on plain ones."""

from __future__ import annotations

from typing import Any

from torch import nn

from elite_ops.sparse_tensor import SparseTensor

__all__ = ["SparseModule", "check_sparse"]


class SparseModule(nn.Module):
    """A module that takes a `SparseTensor` and returns one."""


def check_sparse(layer: nn.Module, x: Any) -> None:
    """Raises a TypeError in the layer's name unless `x` is a `SparseTensor`."""
    if not isinstance(x, SparseTensor):
        raise TypeError(
            f"{type(layer).__name__}: `x` must be a SparseTensor, got {type(x).__name__}"
        )
