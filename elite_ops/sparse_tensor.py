"""Features on the occupied voxels of a batch of grids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elite_ops.kernel_map import KernelMap
from elite_ops.ops.kernel_map import build_kernel_map
from elite_ops.triple import triple
from elite_ops.voxels import Voxels

__all__ = ["SparseTensor"]


@dataclass(frozen=True, eq=False)
class SparseTensor:
    """One row of features per occupied voxel.

    Kernel maps are built once for a set of voxels: tensors made by `replace` share them.

    Args:
        features: of any floating dtype.
        indices: each voxel once, in any order; sorted ones, as from `voxelize`, are fastest.
        spatial_shape: cells along x, y, z.
        batch_size: the number of samples.

    Raises:
        ValueError: if `features` and `indices` differ in their number of rows.
    """

    features: Tensor  # [V, C]
    indices: Tensor  # [V, 4] int32: batch, x, y, z
    spatial_shape: Sequence[int]
    batch_size: int
    _kernel_maps: dict[tuple[tuple[int, ...], tuple[int, ...]], KernelMap] = field(
        default_factory=dict, repr=False
    )

    def __post_init__(self) -> None:
        if self.features.shape[0] != self.indices.shape[0]:
            raise ValueError(
                "SparseTensor: `features` must have one row per row of `indices`, got "
                f"{self.features.shape[0]} rows for {self.indices.shape[0]}"
            )

    @classmethod
    def from_voxels(
        cls,
        features: Tensor,  # [V, C]
        voxels: Voxels,
        batch_size: int,
    ) -> SparseTensor:
        """Features on the voxels of `voxelize`, whose kernel map is used if they came with one."""
        tensor = cls(features, voxels.indices, voxels.spatial_shape, batch_size)
        if voxels.kernel_map is not None:
            tensor._kernel_maps[voxels.kernel_map.kernel_size, (1, 1, 1)] = voxels.kernel_map
        return tensor

    def replace(
        self,
        features: Tensor,  # [V, C']
    ) -> SparseTensor:
        """The same voxels with other features."""
        return SparseTensor(
            features, self.indices, self.spatial_shape, self.batch_size, self._kernel_maps
        )

    def kernel_map(
        self, kernel_size: int | Sequence[int] = 3, dilation: int | Sequence[int] = 1
    ) -> KernelMap:
        """The kernel map of a submanifold convolution on these voxels, built at its first use."""
        kernel_size = triple("SparseTensor", "kernel_size", kernel_size)
        dilation = triple("SparseTensor", "dilation", dilation)
        key = kernel_size, dilation
        if key not in self._kernel_maps:
            self._kernel_maps[key] = build_kernel_map(
                self.indices,
                spatial_shape=self.spatial_shape,
                batch_size=self.batch_size,
                kernel_size=kernel_size,
                dilation=dilation,
            )
        return self._kernel_maps[key]

    def dense(self) -> Tensor:  # [B, C, x, y, z]
        """The whole grids, with zeros where there is no voxel."""
        batch, x, y, z = self.indices.long().unbind(1)
        grid = self.features.new_zeros(
            self.batch_size, *self.spatial_shape, self.features.shape[1]
        ).index_put((batch, x, y, z), self.features)
        return torch.movedim(grid, -1, 1)
