"""The voxel set behind a tensor's indices."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.voxel_set import VoxelSet

__all__ = ["Sites", "indices_of"]


class Sites:
    """Where rows are: a voxel set that is made when a layer first needs it.

    Tensors whose features alone differ share one, and with it the kernel maps. It serves these
    indices alone, as long as they are not changed in place.
    """

    def __init__(self) -> None:
        self._voxels: VoxelSet | None = None
        self._indices: Tensor | None = None
        self._key: tuple[object, ...] = ()

    def __reduce__(self) -> tuple[type[Sites], tuple[()]]:
        """Copies and pickles start without voxels."""
        return Sites, ()

    @classmethod
    def of(cls, voxels: VoxelSet, indices: Tensor, spatial_shape: Sequence[int]) -> Sites:
        """The sites of a voxel set that is there already."""
        sites = cls()
        sites._fill(voxels, indices, _key(indices, spatial_shape, voxels.batch_size))
        return sites

    def fit(self, indices: Tensor, spatial_shape: Sequence[int], batch_size: int) -> bool:
        """Whether these are the sites of these indices, or may still become them."""
        return self._voxels is None or (
            indices is self._indices and self._key == _key(indices, spatial_shape, batch_size)
        )

    def voxels(self, indices: Tensor, spatial_shape: Sequence[int], batch_size: int) -> VoxelSet:
        """The voxel set of indices that fit."""
        if self._voxels is None:
            key = _key(indices, spatial_shape, batch_size)
            self._fill(_voxel_set(indices, spatial_shape, batch_size), indices, key)
        assert self._voxels is not None
        return self._voxels

    def _fill(self, voxels: VoxelSet, indices: Tensor, key: tuple[object, ...]) -> None:
        self._voxels, self._indices, self._key = voxels, indices, key


def indices_of(voxels: VoxelSet, num_axes: int) -> Tensor:  # [V, num_axes + 1]
    """The indices of a voxel set along as many axes as a tensor has."""
    indices = voxels.indices
    return torch.cat([indices[:, :1], indices[:, 2:]], dim=1) if num_axes == 1 else indices


def _voxel_set(indices: Tensor, spatial_shape: Sequence[int], batch_size: int) -> VoxelSet:
    """Grids of one axis get another one in front, of one cell."""
    num_axes = len(spatial_shape)
    if num_axes > 3:
        raise NotImplementedError(
            f"SparseConvTensor: layers are for grids of up to three axes, got {num_axes}"
        )
    if num_axes == 1:
        indices = torch.cat([indices[:, :1], torch.zeros_like(indices[:, :1]), indices[:, 1:]], 1)
        spatial_shape = (1, *spatial_shape)
    return VoxelSet(indices, tuple(spatial_shape), batch_size)


def _key(indices: Tensor, spatial_shape: Sequence[int], batch_size: int) -> tuple[object, ...]:
    version = 0 if torch.compiler.is_compiling() else indices._version
    return (version, tuple(spatial_shape), batch_size)
