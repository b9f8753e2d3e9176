"""Points that share all their voxels, so that what these alone decide is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from elite.student.pyramid import Level
from elite_ops import Segments, build_segments

__all__ = ["Cells", "find_cells"]


@dataclass(frozen=True)
class Cells:
    """The distinct combinations of voxels, one of each level, that points lie in."""

    voxels: list[Tensor]  # per level [M] int32: each cell's voxel
    points: Segments  # the points of each cell


def find_cells(levels: Sequence[Level]) -> Cells:
    """Groups the points that lie in the same voxel at every one of some levels.

    A scan's points lie in several times fewer cells. On CUDA counting them would wait for the
    device, and the memory that they save is not what a GPU lacks.
    """
    inside = (levels[0].points.inverse >= 0).nonzero().flatten()
    key, size = torch.zeros_like(inside), 1
    for level in levels:
        if size * level.points.num_segments >= 2**63:  # numbered anew, there are few
            distinct, key = torch.unique(key, return_inverse=True)
            size = len(distinct)
        key = key * level.points.num_segments + level.points.inverse.index_select(0, inside)
        size *= level.points.num_segments
    distinct, cell = torch.unique(key, return_inverse=True)
    inverse = torch.full_like(levels[0].points.inverse, -1)
    inverse.index_copy_(0, inside, cell.int())
    points = build_segments(inverse, len(distinct))
    first = points.order.index_select(0, points.offsets[:-1])
    return Cells([level.points.inverse.index_select(0, first) for level in levels], points)
