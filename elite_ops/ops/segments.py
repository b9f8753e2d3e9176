"""Points grouped by segment: built once, and shared by every reduction over it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Segments", "build_all_segments", "build_segments", "intersect_segments"]


@dataclass(frozen=True)
class Segments:
    """Which points belong to which segment (voxel), seen from both sides.

    Made by `build_segments`; the ops that take one rely on its three tensors fitting together.
    """

    inverse: Tensor  # [N] int32: segment of each point, -1 = none
    order: Tensor  # [N] int32: points by segment, then by number; those in no segment last
    offsets: Tensor  # [M + 1] int32: segment v owns order[offsets[v] : offsets[v + 1]]
    num_rows: Tensor | None = None  # [] int64, on the device: true segments; None: all

    @property
    def num_segments(self) -> int:
        return self.offsets.shape[0] - 1

    @property
    def counts(self) -> Tensor:  # [M] int32
        """How many points each segment has."""
        return self.offsets[1:] - self.offsets[:-1]


def build_segments(
    inverse: Tensor,  # [N] int32
    num_segments: int,
    *,
    num_rows: Tensor | None = None,  # [] int64
) -> Segments:
    """Groups points by segment.

    Args:
        inverse: segment of each point in [0, num_segments), -1 for a point in no segment.
        num_segments: how many segments there are, M; they may be empty.
        num_rows: how many of them are true, on the device, where M is a capacity. Reductions over
            the segments leave the rows from there on as they are: undefined.

    Returns:
        The segments, on the device of `inverse`.

    Raises:
        TypeError: if `inverse` is not int32.
        ValueError: if `inverse` is not one-dimensional or `num_segments` is negative.
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
        num_rows: of each list, or None where all segments are true.

    Returns:
        The segments of each list.

    Raises:
        TypeError, ValueError, IndexError: as `build_segments`.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* stable counting sort (CPU), stable radix sort (CUDA).
    """
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
    true_rows = num_rows or [None] * len(inverse)
    return [Segments(i, *rows, n) for i, rows, n in zip(inverse, lists, true_rows, strict=True)]


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
    num_points = sum(i.shape[0] for i in inverse)
    num_offsets = sum(n + 1 for n in num_segments)
    return inverse[0].new_empty(num_points), inverse[0].new_empty(num_offsets)


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


torch.library.register_fake("elite_ops::build_segments", _fake)
torch.library.register_fake("elite_ops::intersect_segments", _fake_intersect)
