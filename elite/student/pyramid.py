"""A batch's voxels at every scale, and the fixed sparse operators between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from elite_ops import (
    PointTransition,
    Segments,
    Transition,
    Voxels,
    build_all_segments,
    build_transition,
    on_cuda,
    voxelize,
)

if TYPE_CHECKING:
    from elite.student.network import StudentConfig

__all__ = ["Level", "Pyramid", "Step", "build_pyramid"]


@dataclass(frozen=True)
class Level:
    """One scale of a batch of scans."""

    voxels: Voxels
    points: Segments  # which points lie in which voxel


@dataclass(frozen=True)
class Step:
    """From one level to the next coarser one of the pyramid."""

    halved: Segments  # the finer level's voxels by halved coordinates: the context of a voxel
    # Gather to the points, then mean over the coarser level's voxels.
    transition: Transition | PointTransition


@dataclass(frozen=True)
class Pyramid:
    """Levels from fine to coarse; `steps[i]` leads from `levels[i]` to `levels[i + 1]`."""

    levels: list[Level]
    steps: list[Step]
    batch_size: int

    @property
    def point_rows(self) -> Tensor:  # [N] int32
        """The voxel of each point at the finest scale, -1 for those outside the range."""
        return self.levels[0].voxels.point_rows

    @property
    def valid(self) -> Tensor:  # [N] bool
        """Which points are inside the range."""
        return self.point_rows >= 0


@torch.no_grad()
def build_pyramid(
    points: Tensor,  # [N, 3 + F] float32
    batch_index: Tensor | None,  # [N] int64
    batch_size: int,
    config: StudentConfig,
    *,
    capacity: Sequence[int] | None = None,
    differentiable: bool = True,
) -> Pyramid:
    """Voxelizes a batch at all scales, with the neighbours of every voxel, and builds what leads
    from one scale to the next.

    Args:
        capacity: rows of each scale's buffers, so that nothing waits for the device to count the
            voxels; None: as many as voxels.
        differentiable: whether gradients will go back through the transitions.
    """
    voxels = voxelize(
        points,
        batch_index,
        point_cloud_range=config.point_cloud_range,
        spatial_shape=config.spatial_shape,
        scales=config.scales,
        batch_size=batch_size,
        nested=config.nested,
        kernel_size=3,
        capacity=capacity,
        halved=config.scales[:-1],
    )
    grids = [*voxels, *(v.halved for v in voxels if v.halved is not None)]
    segments = build_all_segments(
        [grid.point_rows for grid in grids],
        [grid.indices.shape[0] for grid in grids],
        None if capacity is None else [grid.num_voxels for grid in grids],
    )
    levels = [Level(*level) for level in zip(voxels, segments, strict=False)]
    # A matrix pays on the CPU; on CUDA it takes dozens of launches to build, for two applications.
    transition = PointTransition if on_cuda(points) and not differentiable else build_transition
    steps = [
        Step(halved, transition(fine.points, coarse.points))
        for halved, (fine, coarse) in zip(segments[len(levels) :], pairwise(levels), strict=True)
    ]
    return Pyramid(levels, steps, batch_size)
