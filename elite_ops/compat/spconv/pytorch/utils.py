"""Hard voxelization of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.compat.spconv.point_to_voxel import Generator

__all__ = ["PointToVoxel", "gather_features_by_pc_voxel_id"]


class PointToVoxel(Generator):
    """Finds the voxels that hold points: first come, first kept; deterministic on all devices.

    Args:
        vsize_xyz: the size of a voxel along x, y, z.
        coors_range_xyz: x_min, y_min, z_min, x_max, y_max, z_max.
        num_point_features: of each point, coordinates included.
        max_num_voxels: how many voxels there may be.
        max_num_points_per_voxel: how many points each may have.
        device: where the points will be.
    """

    def __init__(
        self,
        vsize_xyz: Sequence[float],
        coors_range_xyz: Sequence[float],
        num_point_features: int,
        max_num_voxels: int,
        max_num_points_per_voxel: int,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(
            vsize_xyz,
            coors_range_xyz,
            num_point_features,
            max_num_voxels,
            max_num_points_per_voxel,
        )
        self.device = torch.device(device)

    def __call__(
        self, pc: Tensor, clear_voxels: bool = True, empty_mean: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Points of each voxel [V, T, C], its indices [V, 3] int32 (z, y, x), its points' number.

        Args:
            pc: [N, C] float32.
            clear_voxels: has no effect: slots without a point are 0.
            empty_mean: whether they are the mean of the voxel's points instead.
        """
        return self.generate_voxel_with_id(pc, clear_voxels, empty_mean)[:3]

    def generate_voxel_with_id(
        self, pc: Tensor, clear_voxels: bool = True, empty_mean: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The same, and the voxel of each point [N] int64, -1 for none."""
        if pc.device.type != self.device.type:
            raise ValueError(f"PointToVoxel: `pc` must be on {self.device}, got {pc.device}")
        return self.voxelize(pc, fill_with_mean=empty_mean)


def gather_features_by_pc_voxel_id(
    seg_res_features: Tensor,  # [V, ...]
    pc_voxel_id: Tensor,  # [N] int64
    invalid_value: float = 0,
) -> Tensor:  # [N, ...]
    """The features of each point's voxel; points without one get `invalid_value`."""
    rows = pc_voxel_id.to(seg_res_features.device)
    out = seg_res_features.new_full((len(rows), *seg_res_features.shape[1:]), invalid_value)
    valid = rows != -1
    out[valid] = seg_res_features[rows[valid]]
    return out
