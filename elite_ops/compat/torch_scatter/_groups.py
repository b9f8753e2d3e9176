"""The values of a tensor grouped by an index along one of its dimensions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.compat.torch_scatter._layout import Layout
from elite_ops.compat.torch_scatter.utils import broadcast
from elite_ops.ops.segments import Segments, build_segments

__all__ = [
    "Groups",
    "build",
    "check_out",
    "dimension",
    "expanded_coo",
    "expanded_offsets",
    "floating_groups",
    "from_offsets",
    "rows_of",
]

NOWHERE = -2  # a row number that `build_segments` reports, as -1 it would not


@dataclass(frozen=True)
class Groups:
    """Which rows belong to which place of a result.

    Segments before the first place and behind the last of each part hold rows that belong nowhere.
    """

    layout: Layout
    segments: Segments  # of the layout's rows
    size: int  # places along the dimension
    num_before: int = 0
    num_behind: int = 0

    def restore(self, rows: Tensor) -> Tensor:
        """The result that has a row for each segment: [S, C], or [S], which broadcasts."""
        has_channels = rows.dim() == 2
        if self.num_before or self.num_behind:
            per_part = self.num_before + self.size + self.num_behind
            parts = rows.view(self.layout.num_outer, per_part, *rows.shape[1:])
            rows = parts[:, self.num_before : self.num_before + self.size].flatten(0, 1)
        return self.layout.restore(rows, self.size, channels=has_channels)

    @staticmethod
    def by_index(
        op: str,
        src: Tensor,
        index: Tensor,
        dim: int,
        out: Tensor | None = None,
        dim_size: int | None = None,
    ) -> Groups:
        """By the place of each value, as `scatter` takes it."""
        expanded = _expanded(op, src, index, dim)
        size = _size(op, src, index, dim, out, dim_size)
        layout = Layout.of(src, expanded, dim)
        if src.numel() == 0:  # nothing to look at; the index may lack the dimensions
            return Groups(layout, _no_segments(src, layout.num_outer * size), size)
        numbers = layout.numbers(expanded)
        segments = build(op, rows_of(numbers, size), layout.num_outer * size, index, size)
        return Groups(layout, segments, size)

    @staticmethod
    def by_offsets(op: str, src: Tensor, indptr: Tensor, out: Tensor | None = None) -> Groups:
        """By where each place's values begin, as `segment_csr` takes it."""
        dim, offsets = expanded_offsets(op, src, indptr)
        size, num_values = indptr.shape[-1] - 1, src.shape[dim]
        check_out(op, src, out, dim, size)
        layout = Layout.of(src, offsets, dim)
        if src.numel() == 0:
            return Groups(layout, _no_segments(src, layout.num_outer * size), size)
        segments = from_offsets(op, layout.numbers(offsets), num_values, indptr)
        return Groups(layout, segments, size, num_before=1, num_behind=1)


def dimension(op: str, src: Tensor, dim: int) -> int:
    """The number of a dimension, counted from the front."""
    dim = integer(op, "dim", dim)
    if not -src.dim() <= dim < src.dim():
        raise ValueError(
            f"{op}: `dim` must be a dimension of `src`, which has {src.dim()}, got {dim}"
        )
    return dim % src.dim()


def floating_groups(
    op: str, src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> Groups:
    """By the place of each value, of values that have exponentials and roots."""
    if not src.is_floating_point():
        raise ValueError(f"{op}: `src` must be of a floating dtype, got {src.dtype}")
    return Groups.by_index(op, src, index, dimension(op, src, dim), out, dim_size)


def check_index(op: str, name: str, index: Tensor, src: Tensor) -> None:
    if index.dtype not in (torch.int64, torch.int32):
        raise TypeError(f"{op}: `{name}` must be int64 or int32, got {index.dtype}")
    if index.device != src.device:
        raise ValueError(
            f"{op}: `{name}` must be on the device of `src` ({src.device}), got {index.device}"
        )
    if src.dtype in (torch.bool, *COMPLEX):
        raise TypeError(f"{op}: `src` must be of a floating or integer dtype, got {src.dtype}")


COMPLEX = (torch.complex32, torch.complex64, torch.complex128)


def check_out(op: str, src: Tensor, out: Tensor | None, dim: int, size: int | None = None) -> None:
    """The tensor that a result goes to, which has the shape of the values but for one dimension."""
    if out is None:
        return
    want = list(src.shape)
    if out.dim() == src.dim():
        want[dim] = out.shape[dim] if size is None else size
    if list(out.shape) != want or out.dtype != src.dtype or out.device != src.device:
        raise ValueError(
            f"{op}: `out` must be like `src` but for the size of dimension {dim}: {want}, "
            f"{src.dtype}, {src.device}; got {list(out.shape)}, {out.dtype}, {out.device}"
        )


def rows_of(numbers: Tensor, size: int) -> Tensor:
    """The row of a result [num_outer * size, C] for each number of an index [num_outer, N].

    A number that is out of range, also a negative one, has the row `NOWHERE`.
    """
    rows = numbers.long()
    if numbers.shape[0] > 1:
        rows = rows + size * torch.arange(numbers.shape[0], device=rows.device)[:, None]
    is_place = (numbers >= 0) & (numbers < size)
    return torch.where(is_place, rows, NOWHERE).flatten().int()


def build(op: str, rows: Tensor, num_segments: int, index: Tensor, size: int) -> Segments:
    """Segments of rows from `rows_of`; the error, if there is one, speaks of the index."""
    try:
        return build_segments(rows, num_segments)
    except IndexError:
        wrong = index[(index < 0) | (index >= size)]
        raise IndexError(f"{op}: `index` must be in [0, {size}), got {int(wrong[0])}") from None


def from_offsets(op: str, numbers: Tensor, num_values: int, indptr: Tensor) -> Segments:
    """Segments of offsets [num_outer, M + 1], with one before and one behind in each part."""
    first = num_values * torch.arange(numbers.shape[0], device=numbers.device)[:, None]
    offsets = torch.cat([first, numbers + first], dim=1).flatten()
    end = offsets.new_full((1,), numbers.shape[0] * num_values)
    try:
        return Segments.from_csr(torch.cat([offsets, end]), numbers.shape[0] * num_values)
    except IndexError:
        raise IndexError(
            f"{op}: `indptr` must rise within [0, {num_values}], got {indptr.tolist()}"
        ) from None


def expanded_offsets(op: str, src: Tensor, indptr: Tensor) -> tuple[int, Tensor]:
    """The dimension that offsets are for, and a view of them with the dimensions of `src`."""
    check_index(op, "indptr", indptr, src)
    dim = indptr.dim() - 1
    if not 0 <= dim < src.dim() or indptr.shape[-1] == 0:
        raise ValueError(
            f"{op}: `indptr` must have one or more entries and at most the dimensions of `src` "
            f"({src.dim()}), got shape {tuple(indptr.shape)}"
        )
    _check_leading(op, "indptr", src, indptr)
    offsets = indptr[(...,) + (None,) * (src.dim() - indptr.dim())]
    return dim, offsets.expand(*src.shape[:dim], -1, *src.shape[dim + 1 :])


def expanded_coo(op: str, src: Tensor, index: Tensor) -> tuple[int, Tensor]:
    """The dimension that a sorted index is for, and a view of it with the dimensions of `src`."""
    check_index(op, "index", index, src)
    dim = index.dim() - 1
    if not 0 <= dim < src.dim():
        raise ValueError(
            f"{op}: `index` must have one or more dimensions, at most those of `src` "
            f"({src.dim()}), got shape {tuple(index.shape)}"
        )
    _check_leading(op, "index", src, index)
    index = index[(...,) + (None,) * (src.dim() - index.dim())]
    return dim, index.expand(*src.shape[:dim], -1, *src.shape[dim + 1 :])


def _check_leading(op: str, name: str, src: Tensor, index: Tensor) -> None:
    leading = zip(index.shape[:-1], src.shape, strict=False)
    if any(size not in (1, want) for size, want in leading):
        raise ValueError(
            f"{op}: `{name}` must have the leading dimensions of `src`, {tuple(src.shape)}, or 1, "
            f"got shape {tuple(index.shape)}"
        )


def _expanded(op: str, src: Tensor, index: Tensor, dim: int) -> Tensor:
    check_index(op, "index", index, src)
    sides = [1] * dim + list(index.shape) if index.dim() == 1 else list(index.shape)
    fits = index.dim() > 0 and len(sides) <= src.dim()
    if not fits or any(s not in (1, want) for s, want in zip(sides, src.shape, strict=False)):
        raise ValueError(
            f"{op}: `index` must be broadcastable to `src`, {tuple(src.shape)}, along dimension "
            f"{dim}, got shape {tuple(index.shape)}"
        )
    return broadcast(index, src, dim)


def _size(
    op: str, src: Tensor, index: Tensor, dim: int, out: Tensor | None, dim_size: int | None
) -> int:
    if out is not None:
        check_out(op, src, out, dim)
        return out.shape[dim]
    if dim_size is not None:
        dim_size = integer(op, "dim_size", dim_size)
        if dim_size < 0:
            raise ValueError(f"{op}: `dim_size` must not be negative, got {dim_size}")
        return dim_size
    return max(int(index.max()) + 1, 0) if src.numel() > 0 else 0


def _no_segments(src: Tensor, num_segments: int) -> Segments:
    nothing = src.new_empty(0, dtype=torch.int32)
    return Segments(nothing, nothing, src.new_zeros(num_segments + 1, dtype=torch.int32))
