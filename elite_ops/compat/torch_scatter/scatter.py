"""Reductions of the values that an index sends to each place."""

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
    """Adds up the values of each place, and what is in `out`; arguments as of `scatter`."""
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

    Arguments as of `scatter`. Factors are multiplied one after the other, in the order of `src`, so
    that a place that holds everything takes long on CUDA. As in torch_scatter, the gradient of a
    zero is 0.
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

    Arguments as of `scatter`. What is in `out` is added to the sums before they are divided by the
    number of values. Means of integers are rounded down.
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

    Arguments as of `scatter`. Where there is no value, 0 and `src.size(dim)`; with `out`, what is
    there and `src.size(dim)` where no value is larger. Of equal values the first counts.
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
    """Reduces the values that an index sends to each place along a dimension.

    Values are grouped by a stable sort of the index, and reduced by the kernels of `segment_sum`
    and its kin, products by torch's `segment_reduce`; integers by its `scatter_reduce`. An index
    that is the same along some dimensions of `src`, since it is broadcast there, is sorted once for
    all of them; one of the shape of `src`, value by value.

    Args:
        src: values of any shape; floating or integer.
        index: the place of each value along `dim`, int64 or int32; of the shape of `src`, or
            broadcastable to it: of one dimension it lies along `dim`, of several it starts with the
            first.
        dim: the dimension that is reduced.
        out: a tensor that the result is combined with, in place, and which is returned.
        dim_size: the size of the result along `dim`, where `out` is not given. Without both, one
            more than the largest index.
        reduce: "sum" or "add", "mul", "mean", "min" or "max"; see the function of that name.

    Returns:
        A tensor like `src` but for the size along `dim`. A place without values has 0, of "mul" 1.

    Raises:
        ValueError: if shapes or devices don't fit, or a number or name makes no sense.
        TypeError: if `index` is neither int64 nor int32, or `src` neither floating nor integer.
        IndexError: if an entry of `index` is negative or too large. On CUDA its value is left out,
            and the error is reported by `elite_ops.check_device_errors`.

    *Differentiable:* in `src`, twice; the gradient of "max" and "min" goes to the value taken.
    *Sync:* without `out` and `dim_size` once.
    *Deterministic:* yes.
    *Source:* torch_scatter 2.1. Here sums of half types are formed in float32, NaN is an extreme as
    in `torch.amax`, and an infinite value counts as any other.
    """
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
