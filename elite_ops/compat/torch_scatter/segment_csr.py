"""Reductions and copies by where each place's values begin."""

from __future__ import annotations

from torch import Tensor

from elite_ops.compat.torch_scatter import _reduce
from elite_ops.compat.torch_scatter._gather import gather
from elite_ops.compat.torch_scatter._groups import Groups, check_out, expanded_offsets, from_offsets
from elite_ops.compat.torch_scatter._layout import Layout

__all__ = [
    "gather_csr",
    "segment_add_csr",
    "segment_csr",
    "segment_max_csr",
    "segment_mean_csr",
    "segment_min_csr",
    "segment_sum_csr",
]


def segment_sum_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Adds up the values of each place; arguments as of `segment_csr`."""
    sums = _reduce.total(src, Groups.by_offsets("segment_sum_csr", src, indptr, out))
    return _written(src, sums, out)


def segment_add_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """`segment_sum_csr` by its other name."""
    return segment_sum_csr(src, indptr, out)


def segment_mean_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Averages the values of each place, those of integers towards 0; 0 where there are none."""
    groups = Groups.by_offsets("segment_mean_csr", src, indptr, out)
    return _written(src, _reduce.mean(src, groups, None, "trunc"), out)


def segment_max_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The largest value of each place, and which value along the dimension it is.

    Arguments as of `segment_csr`. Where there is no value, 0 and the size of `src` there. Of equal
    values the first counts.
    """
    groups = Groups.by_offsets("segment_max_csr", src, indptr, out)
    values, places = _reduce.extremes(src, groups, "max")
    return _written(src, values, out), places


def segment_min_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The smallest value of each place, and which it is; see `segment_max_csr`."""
    groups = Groups.by_offsets("segment_min_csr", src, indptr, out)
    values, places = _reduce.extremes(src, groups, "min")
    return _written(src, values, out), places


def segment_csr(
    src: Tensor, indptr: Tensor, out: Tensor | None = None, reduce: str = "sum"
) -> Tensor:
    """Reduces the values of each place, which are neighbours.

    Args:
        src: values of any shape; floating or integer.
        indptr: [..., M + 1] int64 or int32, rising: place m has the values indptr[m] to
            indptr[m + 1] - 1 along the last dimension of `indptr`, whose leading dimensions are
            those of `src` or 1. Values before the first and from the last offset on are left out.
        out: a tensor that the result is written to, and which is returned.
        reduce: "sum" or "add", "mean", "min" or "max".

    Returns:
        A tensor like `src`, of size M along that dimension. A place without values has 0.

    Raises:
        ValueError, TypeError: as `scatter`.
        IndexError: if `indptr` falls, or leaves [0, N]. On CUDA the result is 0, and the error is
            reported by `elite_ops.check_device_errors`.

    *Differentiable:* in `src`, twice; the gradient of "max" and "min" goes to the value taken.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* torch_scatter 2.1; what differs is said at `scatter`.
    """
    if reduce in ("sum", "add"):
        return segment_sum_csr(src, indptr, out)
    if reduce == "mean":
        return segment_mean_csr(src, indptr, out)
    if reduce == "min":
        groups = Groups.by_offsets("segment_min_csr", src, indptr, out)
        return _written(src, _reduce.extreme(src, groups, "min"), out)
    if reduce == "max":
        groups = Groups.by_offsets("segment_max_csr", src, indptr, out)
        return _written(src, _reduce.extreme(src, groups, "max"), out)
    raise ValueError(
        f"segment_csr: `reduce` must be 'sum', 'add', 'mean', 'min' or 'max', got {reduce!r}"
    )


def gather_csr(src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Tensor:
    """Copies the value of each place to all that belong there.

    Args:
        src: values of any shape, of size M where `indptr` has M + 1.
        indptr: where each place begins.
        out: a tensor that the values are written to, and which is returned; what no place has is
            left as it is. Without it, the result is of the size of the last offset.

    Raises:
        ValueError, TypeError, IndexError: as `segment_csr`.

    *Differentiable:* in `src`, as the sum over the copies. *Sync:* without `out` once.
    *Deterministic:* yes.
    """
    dim, offsets = expanded_offsets("gather_csr", src, indptr)
    size = indptr.shape[-1] - 1
    check_out("gather_csr", src, out, dim)
    if src.shape[dim] not in (0, size):
        raise ValueError(
            f"gather_csr: `src` must have size {size} along dimension {dim}, one less than "
            f"`indptr`, got {src.shape[dim]}"
        )
    layout = Layout.of(src, offsets, dim)
    if src.numel() == 0:
        return gather("gather_csr", src, None, layout, indptr, out)
    num_results = int(indptr.flatten()[-1]) if out is None else out.shape[dim]
    segments = from_offsets("gather_csr", layout.numbers(offsets), num_results, indptr)
    part, place = segments.inverse // (size + 2), segments.inverse % (size + 2) - 1
    is_place = (segments.inverse >= 0) & (place >= 0) & (place < size)
    rows = (part * size + place).where(is_place, -1)
    return gather("gather_csr", src, rows, layout, indptr, out)


def _written(src: Tensor, values: Tensor, out: Tensor | None) -> Tensor:
    if out is None:
        return values
    return out if src.numel() == 0 else out.copy_(values)
