"""What tells layers on sparse tensors from torch's layers on plain ones."""

from __future__ import annotations

from torch import nn

__all__ = ["SparseModule"]


class SparseModule(nn.Module):
    """A module that takes a `SparseTensor` and returns one."""
