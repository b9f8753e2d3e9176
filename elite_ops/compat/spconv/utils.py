"""The voxel generators of `spconv.utils`, of 2.x and of 1.x."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from torch import Tensor

from elite_ops.compat.spconv.placeholder import placeholder
from elite_ops.compat.spconv.point_to_voxel import Generator, as_tensor

__all__ = [
    "Point2VoxelCPU1d",
    "Point2VoxelCPU2d",
    "Point2VoxelCPU3d",
    "Point2VoxelCPU4d",
    "Point2VoxelGPU1d",
    "Point2VoxelGPU2d",
    "Point2VoxelGPU3d",
    "Point2VoxelGPU4d",
    "VoxelGenerator",
    "VoxelGeneratorV2",
    "non_max_suppression",
    "non_max_suppression_cpu",
    "nullcontext",
    "rbbox_intersection",
    "rbbox_iou",
    "rbbox_iou_loss",
    "rotate_non_max_suppression_cpu",
]

Array = np.ndarray[Any, Any]

BOXES = "boxes are not part of this face"
non_max_suppression = placeholder("non_max_suppression", BOXES)
non_max_suppression_cpu = placeholder("non_max_suppression_cpu", BOXES)
rotate_non_max_suppression_cpu = placeholder("rotate_non_max_suppression_cpu", BOXES)
rbbox_iou = placeholder("rbbox_iou", BOXES)
rbbox_iou_loss = placeholder("rbbox_iou_loss", BOXES)
rbbox_intersection = placeholder("rbbox_intersection", BOXES)
Point2VoxelCPU4d = placeholder("Point2VoxelCPU4d", "points have up to three axes")
GPU = "use spconv.pytorch.utils.PointToVoxel, which takes tensors of any device"
Point2VoxelGPU1d = placeholder("Point2VoxelGPU1d", GPU)
Point2VoxelGPU2d = placeholder("Point2VoxelGPU2d", GPU)
Point2VoxelGPU3d = placeholder("Point2VoxelGPU3d", GPU)
Point2VoxelGPU4d = placeholder("Point2VoxelGPU4d", GPU)


class Point2VoxelCPU3d(Generator):
    """Finds the voxels that hold points: first come, first kept.

    Takes NumPy arrays, tensors, and cumm's tensors; returns tensors, which have the `numpy()` that
    callers expect.
    """

    def point_to_voxel(
        self, points: Any, clear_voxels: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points of each voxel [V, T, C], its indices [V, D] int32 (z, y, x), its points' number.

        Slots without a point are 0, with `clear_voxels` or without.
        """
        return self.voxelize(as_tensor(points))[:3]

    def point_to_voxel_empty_mean(
        self, points: Any, clear_voxels: bool = True
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The same with the mean of a voxel's points in slots without one."""
        return self.voxelize(as_tensor(points), fill_with_mean=True)[:3]


class Point2VoxelCPU2d(Point2VoxelCPU3d):
    pass


class Point2VoxelCPU1d(Point2VoxelCPU3d):
    pass


class _GeneratorOf1:
    """What the generators of spconv 1.x share: they take and return NumPy arrays."""

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        max_num_points: int,
        max_voxels: int = 20000,
        full_mean: bool = True,
    ) -> None:
        self.voxel_size = np.array(voxel_size, np.float32)
        self.point_cloud_range = np.array(point_cloud_range, np.float32)
        self.max_num_points_per_voxel = max_num_points
        self._max_voxels = max_voxels
        self._full_mean = full_mean
        self.grid_size = np.array(self._generator(3).grid_size[::-1], np.int64)

    def _generator(self, num_channels: int) -> Generator:
        return Generator(
            self.voxel_size.tolist(),
            self.point_cloud_range.tolist(),
            num_channels,
            self._max_voxels,
            self.max_num_points_per_voxel,
        )

    def _generate(self, points: Array, max_voxels: int | None) -> tuple[Array, Array, Array]:
        generator = self._generator(points.shape[1])
        found = generator.voxelize(
            as_tensor(points), max_voxels or None, fill_with_mean=self._full_mean
        )
        voxels = found.voxels.numpy().astype(points.dtype, copy=False)
        return voxels, found.indices.numpy(), found.counts.numpy()


class VoxelGenerator(_GeneratorOf1):
    """The first generator of spconv 1.x.

    Args:
        voxel_size: along x, y, z.
        point_cloud_range: x_min, y_min, z_min, x_max, y_max, z_max.
        max_num_points: how many points a voxel may have.
        max_voxels: how many voxels there may be.
        full_mean: whether slots without a point are the mean of the voxel's points, or 0, as they
            were in 1.0.
    """

    def generate(self, points: Array, max_voxels: int | None = None) -> tuple[Array, Array, Array]:
        """Points of each voxel [V, T, C], its indices [V, 3] int32 (z, y, x), its points' number.

        Args:
            points: [N, C]; cells are computed in float32.
            max_voxels: instead of the generator's.
        """
        return self._generate(points, max_voxels)

    def generate_multi_gpu(
        self, points: Array, max_voxels: int | None = None
    ) -> tuple[Array, Array, Array]:
        """The same with rows of 0 up to the largest number of voxels."""
        limit = max_voxels or self._max_voxels
        voxels, indices, counts = (_padded(a, limit) for a in self._generate(points, max_voxels))
        return voxels, indices, counts


class VoxelGeneratorV2(_GeneratorOf1):
    """The second generator of spconv 1.x, which returns a dictionary.

    Args:
        voxel_size, point_cloud_range, max_num_points, max_voxels: as of `VoxelGenerator`.
        full_mean, block_filtering: must be False.
    """

    def __init__(
        self,
        voxel_size: Sequence[float],
        point_cloud_range: Sequence[float],
        max_num_points: int,
        max_voxels: int = 20000,
        full_mean: bool = False,
        block_filtering: bool = False,
        **options: Any,
    ) -> None:
        if full_mean or block_filtering:
            raise NotImplementedError(
                "VoxelGeneratorV2: `full_mean` and `block_filtering` must be False"
            )
        super().__init__(voxel_size, point_cloud_range, max_num_points, max_voxels, False)

    def generate(self, points: Array, max_voxels: int | None = None) -> dict[str, Any]:
        """voxels [V, T, C], coordinates [V, 3] (z, y, x), num_points_per_voxel [V],
        voxel_point_mask [V, T, 1], and voxel_num."""
        voxels, indices, counts = self._generate(points, max_voxels)
        slots = np.arange(self.max_num_points_per_voxel)
        return {
            "voxels": voxels,
            "coordinates": indices,
            "num_points_per_voxel": counts,
            "voxel_point_mask": (slots < counts[:, None]).astype(points.dtype)[:, :, None],
            "voxel_num": len(voxels),
        }

    def generate_multi_gpu(self, points: Array, max_voxels: int | None = None) -> dict[str, Any]:
        """The same with rows of 0 up to the largest number of voxels."""
        limit = max_voxels or self._max_voxels
        found = self.generate(points, max_voxels)
        number = found.pop("voxel_num")
        return {**{name: _padded(a, limit) for name, a in found.items()}, "voxel_num": number}


def _padded(array: Array, num_rows: int) -> Array:
    out = np.zeros((num_rows, *array.shape[1:]), array.dtype)
    out[: len(array)] = array
    return out
