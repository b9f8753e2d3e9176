"""The occupied cells of a grid, and which points lie in each."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from elite_ops.kernel_map import KernelMap

__all__ = ["Voxels"]


@dataclass(frozen=True)
class Voxels:
    """The voxels of a point cloud at one scale, ordered by batch, x, y, z.

    Buffers of fixed capacity have V rows, of which the first `num_voxels` are voxels; what the
    others hold is not defined.
    """

    indices: Tensor  # [V, 4] int32: batch, x, y, z
    inverse: Tensor  # [N] int32: the row of each point's voxel, -1 for a point outside the range
    counts: Tensor  # [V] int32: points in each voxel
    num_voxels: Tensor  # [] int64, on the device
    scale: int
    spatial_shape: tuple[int, int, int]  # cells of this scale along x, y, z
    kernel_map: KernelMap | None = None  # of the convolution that `voxelize` was told of
    halved: Voxels | None = None  # of the grid of half as many cells; its points are these voxels
