"""A batch's voxels at every scale, and the fixed sparse operators between them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from elite_ops import (
    Segments,
    Transition,
    Voxels,
    build_segments,
    build_transition,
    voxelize,
)

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
    transition: Transition  # gather to the points, then mean over the coarser level's voxels


@dataclass(frozen=True)
class Pyramid:
    """Levels from fine to coarse; `steps[i]` leads from `levels[i]` to `levels[i + 1]`."""

    levels: list[Level]
    steps: list[Step]
    batch_size: int


@torch.no_grad()
def build_pyramid(
    points: Tensor,  # [N, 3 + F] float32
    batch_index: Tensor,  # [N] int64
    batch_size: int,
    *,
    point_cloud_range: tuple[float, ...],  # x_min y_min z_min x_max y_max z_max, metres
    spatial_shape: tuple[int, int, int],
    scales: tuple[int, ...],
    nested: bool,
) -> Pyramid:
    """Voxelizes a batch at all scales, with the neighbours of every voxel, and builds what leads
    from one scale to the next."""
    voxels = voxelize(
        points,
        batch_index,
        point_cloud_range=point_cloud_range,
        spatial_shape=spatial_shape,
        scales=scales,
        batch_size=batch_size,
        nested=nested,
        kernel_size=3,
        halved=scales[:-1],
    )
    levels = [Level(v, build_segments(v.inverse, v.indices.shape[0])) for v in voxels]
    steps = [_step(fine, coarse) for fine, coarse in pairwise(levels)]
    return Pyramid(levels, steps, batch_size)


def _step(fine: Level, coarse: Level) -> Step:
    halved = fine.voxels.halved
    assert halved is not None
    return Step(
        halved=build_segments(halved.inverse, halved.indices.shape[0]),
        transition=build_transition(fine.points, coarse.points),
    )
