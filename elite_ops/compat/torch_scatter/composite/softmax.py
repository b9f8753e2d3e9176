"""The softmax over the values of each place."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter._groups import floating_groups
from elite_ops.ops.segment_softmax import segment_logsumexp, segment_softmax
from elite_ops.ops.voxel_to_point import voxel_to_point

__all__ = ["scatter_log_softmax", "scatter_softmax"]


def scatter_softmax(
    src: Tensor, index: Tensor, dim: int = -1, dim_size: int | None = None
) -> Tensor:
    """Divides the exponential of each value by the sum of those of its place.

    Args:
        src, index, dim, dim_size: as of `scatter`; `src` is floating.

    Returns:
        A tensor like `src`.

    Raises:
        ValueError: if `src` is not floating; and what `scatter` raises.

    *Differentiable:* in `src`, twice. *Sync:* as `scatter`. *Deterministic:* yes.
    """
    groups = floating_groups("scatter_softmax", src, index, dim, None, dim_size)
    if src.numel() == 0:
        return src.clone()
    rows = segment_softmax(groups.layout.rows(src), groups.segments)
    return groups.layout.restore(rows, src.shape[groups.layout.dim])


def scatter_log_softmax(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    eps: float = 1e-12,
    dim_size: int | None = None,
) -> Tensor:
    """The logarithm of `scatter_softmax`, without its underflow.

    Args:
        src, index, dim, dim_size: as of `scatter`; `src` is floating.
        eps: what torch_scatter adds to each sum, which is 1 or more; here nothing is added.

    Returns:
        A tensor like `src`.

    Raises:
        ValueError: if `src` is not floating; and what `scatter` raises.

    *Differentiable:* in `src`, twice. *Sync:* as `scatter`. *Deterministic:* yes.
    """
    groups = floating_groups("scatter_log_softmax", src, index, dim, None, dim_size)
    if src.numel() == 0:
        return src.clone()
    rows = groups.layout.rows(src)
    sums = voxel_to_point(segment_logsumexp(rows, groups.segments), groups.segments)
    return groups.layout.restore(rows - sums, src.shape[groups.layout.dim])
