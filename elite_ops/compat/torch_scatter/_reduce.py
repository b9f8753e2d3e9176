"""The reductions of grouped values: in a fixed order, but for integers, by torch's scatter."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from elite_ops.compat.torch_scatter._groups import Groups
from elite_ops.ops.segment_reduce import segment_max, segment_mean, segment_min, segment_sum
from elite_ops.ops.segments import Segments
from elite_ops.ops.voxel_to_point import voxel_to_point

__all__ = ["extreme", "extremes", "mean", "product", "total"]

Extreme = Literal["max", "min"]


def total(src: Tensor, groups: Groups) -> Tensor:
    """The sum of the values of each place; 0 where there are none."""
    if src.numel() == 0:
        return src.new_zeros(groups.layout.with_size(groups.size))
    rows = groups.layout.rows(src)
    if src.is_floating_point():
        return groups.restore(segment_sum(rows, groups.segments))
    places, sums = _places(groups), _for_each_segment(rows, groups, 0)
    return groups.restore(sums.index_add_(0, places, rows)[:-1])


def mean(
    src: Tensor, groups: Groups, out: Tensor | None, rounding: Literal["floor", "trunc"]
) -> Tensor:
    """The mean of the values of each place and what is in `out`, which doesn't count as one."""
    if out is None and src.is_floating_point() and src.numel() > 0:
        return groups.restore(segment_mean(groups.layout.rows(src), groups.segments))
    sums = total(src, groups) if out is None else out.add_(total(src, groups))
    counts = groups.restore(groups.segments.counts).clamp(min=1)
    if src.is_floating_point():
        return sums.div_(counts.to(src.dtype))
    return sums.copy_(torch.div(sums.long(), counts, rounding_mode=rounding))


def extreme(src: Tensor, groups: Groups, which: Extreme, out: Tensor | None = None) -> Tensor:
    """The extreme value of each place; without one 0, or what is in `out`."""
    if out is not None or src.numel() == 0 or not src.is_floating_point():
        return extremes(src, groups, which, out)[0]
    reduce = segment_max if which == "max" else segment_min
    return groups.restore(reduce(groups.layout.rows(src), groups.segments))


def extremes(
    src: Tensor, groups: Groups, which: Extreme, out: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The same, and where along the dimension it is from: the number of values if nowhere."""
    num_values = src.shape[groups.layout.dim]
    if src.numel() == 0:
        best = src.new_zeros(groups.layout.with_size(groups.size))
        place = torch.full(best.shape, num_values, device=src.device)
    else:
        rows = groups.layout.rows(src)
        reduce = _floating_extremes if src.is_floating_point() else _integer_extremes
        best, points = reduce(rows, groups, which)
        place = points.long()
        if groups.layout.num_outer > 1:
            place %= num_values
        is_empty = groups.segments.counts == 0
        place = groups.restore(place.masked_fill_(is_empty[:, None], num_values))
        best = groups.restore(best)
    if out is None:
        return best, place
    before = out.detach().clone()
    better = (best > before) if which == "max" else (best < before)
    better &= place < num_values
    out.copy_(torch.where(better, best, before))
    return out, place.masked_fill(~better, num_values)


def product(src: Tensor, groups: Groups) -> Tensor:
    """The product of the values of each place; 1 where there are none."""
    if src.numel() == 0:  # as there, whether or not there are places
        return src.new_zeros(groups.layout.with_size(groups.size))
    rows, segments = groups.layout.rows(src), groups.segments
    if src.is_floating_point():
        grouped = (segments.inverse, segments.order, segments.offsets)
        products: Tensor = _Product.apply(rows, *grouped)  # type: ignore[no-untyped-call]
        return groups.restore(products)
    places = _places(groups)[:, None].expand_as(rows)
    products = _for_each_segment(rows, groups, 1).scatter_reduce(0, places, rows, "prod")
    return groups.restore(products[:-1])


class _Product(torch.autograd.Function):
    """The product of rows, with torch_scatter's gradient: that of a zero is 0.

    A column's factors are multiplied one after the other, in the order of their rows. torch's
    `scatter_reduce` would take them as they come on CUDA, and round otherwise in every run.
    """

    @staticmethod
    def forward(rows: Tensor, inverse: Tensor, order: Tensor, offsets: Tensor) -> Tensor:
        wide = rows.float() if rows.dtype in (torch.float16, torch.bfloat16) else rows
        factors = wide.index_select(0, order)
        products = torch.segment_reduce(
            factors, "prod", offsets=offsets, axis=0, unsafe=True, initial=1
        )
        # Not `to` alone: Dynamo of torch 2.11 takes a result that it passes on for a constant.
        return products if wide is rows else products.to(rows.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs, output)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        rows, inverse, order, offsets, products = ctx.saved_tensors
        weighted = voxel_to_point(grads[0] * products, Segments(inverse, order, offsets))
        quotient = weighted / rows
        return quotient.masked_fill(quotient.isnan(), 0), None, None, None


def _floating_extremes(rows: Tensor, groups: Groups, which: Extreme) -> tuple[Tensor, Tensor]:
    reduce = segment_max if which == "max" else segment_min
    return reduce(rows, groups.segments, return_indices=True)


def _integer_extremes(rows: Tensor, groups: Groups, which: Extreme) -> tuple[Tensor, Tensor]:
    """As the kernels of floating dtypes: of equal values the first."""
    places = _places(groups)[:, None].expand_as(rows)
    best = _for_each_segment(rows, groups, 0)
    best = best.scatter_reduce(0, places, rows, f"a{which}", include_self=False)
    numbers = torch.arange(rows.shape[0], device=rows.device)[:, None]
    nowhere = rows.shape[0]
    matches = torch.where(rows == best.gather(0, places), numbers, nowhere)
    points = _for_each_segment(matches, groups, nowhere)
    return best[:-1], points.scatter_reduce(0, places, matches, "amin")[:-1]


def _places(groups: Groups) -> Tensor:
    """The segment of each row; one more for rows that have none."""
    segments = groups.segments
    return torch.where(segments.inverse >= 0, segments.inverse, segments.num_segments).long()


def _for_each_segment(rows: Tensor, groups: Groups, value: int) -> Tensor:
    return rows.new_full((groups.segments.num_segments + 1, rows.shape[1]), value)
