"""Points grouped by segment: built once, and shared by every reduction over it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.registration import register_fake

__all__ = ["Segments", "build_all_segments", "build_segments", "intersect_segments"]


# Whether every `Segments` is checked as it is made.
_DEBUG = os.environ.get("ELITE_OPS_DEBUG") == "1"


@dataclass(frozen=True, eq=False)
class Segments:
    """Which points belong to which segment (voxel), seen from both sides.

    Make one of what you know: `Segments.from_coo` (or `build_segments`) of the segment of each
    point, `Segments.from_csr` of where each segment begins. They look at every number, so that what
    they return is safe. Made of its three tensors it is trusted: ops check their shapes alone, and
    read and write memory that isn't theirs where the numbers don't fit together. `validate` says
    whether they do, and with the environment variable `ELITE_OPS_DEBUG=1` it is asked of every
    `Segments`.
    """

    inverse: Tensor  # [N] int32: segment of each point, -1 = none
    order: Tensor  # [N] int32: points by segment, then by number; those in no segment last
    offsets: Tensor  # [M + 1] int32: segment v owns order[offsets[v] : offsets[v + 1]]
    num_rows: Tensor | None = None  # [] int64, on the device: valid segments; None: all

    def __post_init__(self) -> None:
        if _DEBUG:
            self.validate()

    @property
    def num_segments(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def counts(self) -> Tensor:  # [M] int32
        """How many points each segment has."""
        return self.offsets[1:] - self.offsets[:-1]

    @staticmethod
    def from_coo(
        index: Tensor,  # [N] int32 or int64
        num_segments: int | None = None,
        *,
        num_rows: Tensor | None = None,  # [] int64
    ) -> Segments:
        """Groups points by the number of their segment, in any order.

        Args:
            index: segment of each point in [0, num_segments), -1 for a point in no segment.
            num_segments: how many segments there are; as many as `index` names where left out.
            num_rows: as in `build_segments`.

        Returns:
            The segments, on the device of `index`.

        Raises:
            TypeError: if `index` is neither int32 nor int64, or `num_segments` no integer.
            ValueError, IndexError: as `build_segments`, whose `inverse` the index is. A number of
                more than 32 bits is reported as the nearest one of 32 bits.

        *Differentiable:* no.
        *Sync:* without `num_segments` once, to count them.
        *Deterministic:* yes.
        *Source:* `build_segments`; the index of torch_scatter's `scatter` and `segment_coo`.

        Example:
            >>> Segments.from_coo(torch.tensor([2, 0, 2])).counts
            tensor([1, 0, 2], dtype=torch.int32)
        """
        if index.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"Segments.from_coo: `index` must be int32 or int64, got {index.dtype}")
        if num_segments is None:
            num_segments = max(int(index.max()) + 1, 0) if index.numel() > 0 else 0
        if index.dtype == torch.int64:
            int32 = torch.iinfo(torch.int32)
            index = index.clamp(int32.min, int32.max).int()
        return build_segments(index, num_segments, num_rows=num_rows)

    @staticmethod
    def from_csr(
        offsets: Tensor,  # [M + 1] int32 or int64
        num_points: int | None = None,
    ) -> Segments:
        """Groups neighbouring points: segment v has the points offsets[v] to offsets[v + 1] - 1.

        Args:
            offsets: where each segment begins, and where the last one ends; rising from 0.
            num_points: how many points there are, N; those from offsets[M] on are in no segment.
                Where left out, offsets[M].

        Returns:
            The segments, on the device of `offsets`.

        Raises:
            TypeError: if `offsets` is neither int32 nor int64, or `num_points` no integer.
            ValueError: if `offsets` is not one-dimensional or empty, or a size is negative or too
                large.
            IndexError: if `offsets` doesn't begin with 0, falls, or ends behind the last point. On
                CUDA all points are in no segment then, and `check_device_errors` raises.

        *Differentiable:* no.
        *Sync:* without `num_points` once, to count them.
        *Deterministic:* yes.
        *Source:* the `indptr` of torch_scatter's `segment_csr`.

        Example:
            >>> Segments.from_csr(torch.tensor([0, 2, 2, 3]), num_points=4).inverse
            tensor([ 0,  0,  2, -1], dtype=torch.int32)
        """
        if num_points is not None:
            num_points = integer("Segments.from_csr", "num_points", num_points)
        return Segments(*torch.ops.elite_ops.segments_from_csr(offsets, num_points))

    def validate(self) -> None:
        """Looks at every number.

        Raises:
            ValueError: if `order` and `offsets` don't say the same as `inverse`.
            TypeError, ValueError, IndexError: if `inverse` is none that `build_segments` takes.

        *Sync:* once.
        """
        built = torch.ops.elite_ops.build_segments([self.inverse], [self.num_segments])
        for name, want in zip(("order", "offsets"), built, strict=True):
            got = getattr(self, name)
            if (got.dtype, got.shape) != (want.dtype, want.shape) or not torch.equal(got, want):
                raise ValueError(
                    f"Segments: `{name}` must be what build_segments makes of `inverse`"
                )


def build_segments(
    inverse: Tensor,  # [N] int32
    num_segments: int,
    *,
    num_rows: Tensor | None = None,  # [] int64
) -> Segments:
    """Groups points by segment.

    Args:
        inverse: segment of each point in [0, num_segments), -1 for a point in no segment.
        num_segments: how many segments there are, M; they may be empty. A tensor with one integer
            will do, and is waited for.
        num_rows: how many of them are valid, on the device, where M is a capacity. Reductions over
            the segments leave the rows from there on as they are: undefined.

    Returns:
        The segments, on the device of `inverse`.

    Raises:
        TypeError: if `inverse` is not int32, or `num_segments` no integer.
        ValueError: if `inverse` is not one-dimensional or `num_segments` is negative.
        torch.OutOfMemoryError: if there is no memory for a number a segment.
        IndexError: if a segment is outside [-1, num_segments). On CUDA such a point counts as -1
            and the error is reported by `check_device_errors`.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* stable counting sort (CPU), stable radix sort (CUDA).
    """
    return build_all_segments([inverse], [num_segments], [num_rows])[0]


def build_all_segments(
    inverse: Sequence[Tensor],  # each [N] int32, of any N
    num_segments: Sequence[int],
    num_rows: Sequence[Tensor | None] | None = None,
) -> list[Segments]:
    """Groups several lists of points by segment, on CUDA with one sort for all.

    Args:
        inverse: up to 32 lists, each as `build_segments` takes it, on one device.
        num_segments: of each list.
        num_rows: of each list, or None where all segments are valid.

    Returns:
        The segments of each list.

    Raises:
        TypeError, ValueError, IndexError: as `build_segments`.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* stable counting sort (CPU), stable radix sort (CUDA).
    """
    num_segments = [integer("build_segments", "num_segments", n) for n in num_segments]
    orders, offsets = torch.ops.elite_ops.build_segments(inverse, num_segments)
    if len(inverse) == 1:  # the splits would take longer than sorting a short list
        lists = [(orders, offsets)]
    else:
        lists = list(
            zip(
                orders.split([i.shape[0] for i in inverse]),
                offsets.split([n + 1 for n in num_segments]),
                strict=True,
            )
        )
    valid_rows = num_rows or [None] * len(inverse)
    return [Segments(i, *rows, n) for i, rows, n in zip(inverse, lists, valid_rows, strict=True)]


def intersect_segments(
    segments: Sequence[Segments],  # each of the same N points
) -> tuple[Segments, Tensor]:  # [len(segments), M] int32
    """Groups the points that lie in the same segment of each of several groupings.

    What depends on the segments of a point alone has to be computed only once a group: the points
    of a LiDAR scan share the voxels of several scales with many others.

    Args:
        segments: one or more groupings. It is fastest where the first has the smallest segments.

    Returns:
        The groups, M of them, in lexicographic order of their segments, and for each grouping the
        segment that each group lies in. A point that is in no segment of some grouping is in no
        group.

    Raises:
        ValueError: if `segments` is empty, or numbers of points or devices differ.
        TypeError: if a tensor of `segments` is not int32.

    *Differentiable:* no.
    *Sync:* on CUDA several, to count the groups.
    *Deterministic:* yes.
    *Source:* the common refinement of partitions; sorted within each segment of the first (CPU),
    `torch.unique` (CUDA).
    """
    if not segments:
        raise ValueError("intersect_segments: `segments` must hold one or more, got none")
    inverse = [s.inverse for s in segments]
    *groups, rows = torch.ops.elite_ops.intersect_segments(
        inverse, segments[0].order, segments[0].offsets
    )
    return Segments(*groups), rows


def _fake(inverse: Sequence[Tensor], num_segments: Sequence[int]) -> tuple[Tensor, Tensor]:
    for n in num_segments:
        if isinstance(n, int) and n < 0:
            raise ValueError(f"build_segments: `num_segments` must be in [0, 2^31 - 1), got {n}")
    num_points = sum(i.shape[0] for i in inverse)
    num_offsets = sum(n + 1 for n in num_segments)
    return inverse[0].new_empty(num_points), inverse[0].new_empty(num_offsets)


def _fake_from_csr(offsets: Tensor, num_points: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    size = torch.library.get_ctx().new_dynamic_size() if num_points is None else num_points
    points = offsets.new_empty(size, dtype=torch.int32)
    return points, torch.empty_like(points), offsets.new_empty(offsets.shape, dtype=torch.int32)


def _fake_intersect(
    inverse: Sequence[Tensor], order: Tensor, offsets: Tensor
) -> tuple[Tensor, ...]:
    num_groups = torch.library.get_ctx().new_dynamic_size()
    return (
        order.new_empty(order.shape),
        order.new_empty(order.shape),
        order.new_empty(num_groups + 1),
        order.new_empty(len(inverse), num_groups),
    )


register_fake("build_segments", _fake)
register_fake("segments_from_csr", _fake_from_csr)
register_fake("intersect_segments", _fake_intersect)
