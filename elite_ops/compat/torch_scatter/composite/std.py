"""The standard deviation of the values of each place."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter._groups import floating_groups
from elite_ops.ops.segment_reduce import segment_mean, segment_sum
from elite_ops.ops.voxel_to_point import voxel_to_point

__all__ = ["scatter_std"]


def scatter_std(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    unbiased: bool = True,
) -> Tensor:
    """The standard deviation of the values of each place; 0 where there are none.

    Args:
        src, index, dim, dim_size: as of `scatter`; `src` is floating.
        out: sums of squares that those of the deviations are added to, in place. It is not what is
            returned.
        unbiased: whether the sum is divided by one less than the number of values, which 1e-6 is
            added to, as torch_scatter does.

    Raises:
        ValueError: if `src` is not floating; and what `scatter` raises.

    *Differentiable:* in `src`, twice; infinite or NaN where all values are equal, as the square
    root's. *Sync:* as `scatter`. *Deterministic:* yes.
    """
    groups = floating_groups("scatter_std", src, index, dim, out, dim_size)
    if src.numel() == 0:
        squares = src.new_zeros(groups.layout.with_size(groups.size))
    else:
        rows, segments = groups.layout.rows(src), groups.segments
        deviations = rows - voxel_to_point(segment_mean(rows, segments), segments)
        squares = groups.restore(segment_sum(deviations * deviations, segments))
    if out is not None:
        squares = out.add_(squares)
    counts = groups.restore(groups.segments.counts).clamp(min=1)
    if unbiased:
        counts = (counts - 1).clamp(min=1)
    return squares.div(counts.to(src.dtype) + 1e-6).sqrt()
