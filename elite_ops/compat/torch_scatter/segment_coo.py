"""Reductions and copies by a sorted index along its last dimension."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter import _reduce
from elite_ops.compat.torch_scatter._gather import gather
from elite_ops.compat.torch_scatter._groups import Groups, check_out, expanded_coo, rows_of
from elite_ops.compat.torch_scatter._layout import Layout

__all__ = [
    "gather_coo",
    "segment_add_coo",
    "segment_coo",
    "segment_max_coo",
    "segment_mean_coo",
    "segment_min_coo",
    "segment_sum_coo",
]


def segment_sum_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Adds up the values of each place, and what is in `out`; arguments as of `segment_coo`."""
    sums = _reduce.total(src, _groups("segment_sum_coo", src, index, out, dim_size))
    return sums if out is None else out.add_(sums)


def segment_add_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """`segment_sum_coo` by its other name."""
    return segment_sum_coo(src, index, out, dim_size)


def segment_mean_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> Tensor:
    """Averages the values of each place; 0 where there are none.

    Arguments as of `segment_coo`. What is in `out` is added to the sums before they are divided by
    the number of values.
    """
    groups = _groups("segment_mean_coo", src, index, out, dim_size)
    return _reduce.mean(src, groups, out, "trunc")


def segment_max_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The largest value of each place, and which it is; as `scatter_max`."""
    return _reduce.extremes(src, _groups("segment_max_coo", src, index, out, dim_size), "max", out)


def segment_min_coo(
    src: Tensor, index: Tensor, out: Tensor | None = None, dim_size: int | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest value of each place, and which it is; as `scatter_max`."""
    return _reduce.extremes(src, _groups("segment_min_coo", src, index, out, dim_size), "min", out)


def segment_coo(
    src: Tensor,
    index: Tensor,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduces the values that an index sends to each place, as `scatter` does.

    The dimension is the last one of `index`, and means of integers are rounded towards 0.

    Args:
        src: values of any shape; floating or integer.
        index: the place of each value along the last dimension of the index, int64 or int32; its
            leading dimensions are those of `src` or 1. In any order, where torch_scatter wants it
            sorted.
        out: a tensor that the result is combined with, in place, and which is returned.
        dim_size: the size of the result there, where `out` is not given. Without both, one more
            than the largest index.
        reduce: "sum" or "add", "mean", "min" or "max".

    Returns, raises, and is differentiable, as `scatter`.
    """
    if reduce in ("sum", "add"):
        return segment_sum_coo(src, index, out, dim_size)
    if reduce == "mean":
        return segment_mean_coo(src, index, out, dim_size)
    if reduce == "min":
        return _reduce.extreme(
            src, _groups("segment_min_coo", src, index, out, dim_size), "min", out
        )
    if reduce == "max":
        return _reduce.extreme(
            src, _groups("segment_max_coo", src, index, out, dim_size), "max", out
        )
    raise ValueError(
        f"segment_coo: `reduce` must be 'sum', 'add', 'mean', 'min' or 'max', got {reduce!r}"
    )


def gather_coo(src: Tensor, index: Tensor, out: Tensor | None = None) -> Tensor:
    """Copies the value of each place to all that the index sends there.

    Args:
        src: values of any shape.
        index: the place of each result along the last dimension of the index, int64 or int32; its
            leading dimensions are those of `src` or 1.
        out: a tensor that the values are written to, and which is returned.

    *Differentiable:* in `src`, as the sum over the copies. *Sync:* none. *Deterministic:* yes.
    """
    dim, expanded = expanded_coo("gather_coo", src, index)
    check_out("gather_coo", src, out, dim, index.shape[-1])
    layout = Layout.of(src, expanded, dim)
    rows = rows_of(layout.numbers(expanded), src.shape[dim]) if src.numel() > 0 else None
    return gather("gather_coo", src, rows, layout, index, out)


def _groups(
    op: str, src: Tensor, index: Tensor, out: Tensor | None, dim_size: int | None
) -> Groups:
    dim, expanded = expanded_coo(op, src, index)
    return Groups.by_index(op, src, expanded, dim, out, dim_size)
