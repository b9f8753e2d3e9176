"""Reductions of the values that an index names, as torch_scatter's `scatter`.

All functions take:
    src: values of any shape; floating or integer.
    index: where each value goes along `dim`, int64 (or int32); of the shape of `src`, or
        broadcastable to it: of one dimension it lies along `dim`, of several it starts with the
        first.
    dim: the dimension along which the values are reduced.
    out: a tensor that the result is combined with, in place, and which is returned.
    dim_size: the size of the result along `dim` where `out` is not given; if neither is, the
        largest index and one.

They raise a ValueError, TypeError or IndexError where these make no sense. Floating values are
grouped by a stable sort of the index and reduced by the kernels of `elite_ops.segment_sum` and its
kin; integers by torch's `scatter_reduce`. An index that is the same for some dimensions of `src`,
since it is broadcast there, is sorted once for all of them; one that isn't is sorted value by
value.

*Differentiable:* in `src`; of `max` and `min` the gradient goes to the value that was taken.
*Sync:* for the largest index where neither `out` nor `dim_size` is given. On CUDA an index out of
range is reported by `elite_ops.check_device_errors`.
*Deterministic:* yes; on CUDA all but `mul`.
*Source:* torch_scatter 2.1. Here sums of half types are formed in float32, NaN is an extreme as in
`torch.amax`, and an infinite value counts as any other.
"""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter import _reduce
from elite_ops.compat.torch_scatter._groups import Groups, dimension

__all__ = [
    "scatter",
    "scatter_add",
    "scatter_max",
    "scatter_mean",
    "scatter_min",
    "scatter_mul",
    "scatter_sum",
]


def scatter_sum(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Adds up the values of each place, and what is in `out`; 0 where there are none."""
    groups = _groups("scatter_sum", src, index, dim, out, dim_size)
    sums = _reduce.total(src, groups)
    return sums if out is None else out.add_(sums)


def scatter_add(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """`scatter_sum` by its other name."""
    return scatter_sum(src, index, dim, out, dim_size)


def scatter_mul(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Multiplies the values of each place, and what is in `out`; 1 where there are none.

    By torch's `scatter_reduce`, which on CUDA multiplies in any order. The gradient of a zero is 0.
    """
    groups = _groups("scatter_mul", src, index, dim, out, dim_size)
    products = _reduce.product(src, groups)
    if out is None:
        return products
    return out if src.numel() == 0 else out.mul_(products)


def scatter_mean(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> Tensor:
    """Averages the values of each place; 0 where there are none.

    What is in `out` is added to the sums before they are divided by the number of values. Means of
    integers are rounded down.
    """
    groups = _groups("scatter_mean", src, index, dim, out, dim_size)
    return _reduce.mean(src, groups, out, "floor")


def scatter_max(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The largest value of each place, and which value along `dim` it is.

    Where there is none, 0 and `src.size(dim)`; with `out`, what is there and `src.size(dim)` where
    no value is larger. Of equal values the first counts.
    """
    groups = _groups("scatter_max", src, index, dim, out, dim_size)
    return _reduce.extremes(src, groups, "max", out)


def scatter_min(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
) -> tuple[Tensor, Tensor]:
    """The smallest value of each place, and which value along `dim` it is; see `scatter_max`."""
    groups = _groups("scatter_min", src, index, dim, out, dim_size)
    return _reduce.extremes(src, groups, "min", out)


def scatter(
    src: Tensor,
    index: Tensor,
    dim: int = -1,
    out: Tensor | None = None,
    dim_size: int | None = None,
    reduce: str = "sum",
) -> Tensor:
    """Reduces by name: "sum" or "add", "mul", "mean", "min", "max"."""
    if reduce in ("sum", "add"):
        return scatter_sum(src, index, dim, out, dim_size)
    if reduce == "mul":
        return scatter_mul(src, index, dim, out, dim_size)
    if reduce == "mean":
        return scatter_mean(src, index, dim, out, dim_size)
    if reduce == "min":
        return _reduce.extreme(
            src, _groups("scatter_min", src, index, dim, out, dim_size), "min", out
        )
    if reduce == "max":
        return _reduce.extreme(
            src, _groups("scatter_max", src, index, dim, out, dim_size), "max", out
        )
    raise ValueError(
        f"scatter: `reduce` must be 'sum', 'add', 'mul', 'mean', 'min' or 'max', got {reduce!r}"
    )


def _groups(
    op: str, src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> Groups:
    return Groups.by_index(op, src, index, dimension(op, src, dim), out, dim_size)
