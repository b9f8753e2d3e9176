"""What torch_scatter's callers import besides its reductions."""

from __future__ import annotations

from torch import Tensor

__all__ = ["broadcast"]


def broadcast(src: Tensor, other: Tensor, dim: int) -> Tensor:
    """A view of an index in the shape of the values along whose dimension `dim` it points.

    An index of one dimension lies along `dim`; one of several starts with the first dimension. What
    is missing, or of size 1, is repeated.

    Raises:
        RuntimeError: if the shapes don't fit, from `torch.Tensor.expand`.
    """
    if src.dim() == 1:
        src = src[(None,) * (dim % max(other.dim(), 1))]
    return src[(...,) + (None,) * (other.dim() - src.dim())].expand(other.shape)
