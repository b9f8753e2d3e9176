"""Functions of features on sparse tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from elite_ops.compat.torchsparse.tensor import SparseTensor

__all__ = ["fapply"]


def fapply(
    input: SparseTensor, fn: Callable[..., Tensor], *args: Any, **kwargs: Any
) -> SparseTensor:
    """The same voxels, with their caches, and what a function makes of the features."""
    return input.replace(fn(input.feats, *args, **kwargs))
