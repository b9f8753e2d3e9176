"""The tensor that spconv's layers pass on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.compat.spconv.core import ConvAlgo
from elite_ops.compat.spconv.placeholder import placeholder
from elite_ops.compat.spconv.pytorch.indice_data import ImplicitGemmIndiceData, IndiceData
from elite_ops.compat.spconv.pytorch.sites import Sites
from elite_ops.dense_grid import dense_grid
from elite_ops.per_axis import per_axis
from elite_ops.voxel_set import VoxelSet, with_version

__all__ = [
    "ImplicitGemmIndiceData",
    "IndiceData",
    "SparseConvTensor",
    "ThrustSortAllocator",
    "expand_nd",
    "scatter_nd",
]

ThrustSortAllocator = placeholder("ThrustSortAllocator", "kernels allocate their own memory here")


# What a copy shares. Dynamo of torch 2.11 doesn't trace a loop over `__dict__`.
_PARTS = (
    *("features", "indices", "_sites", "batch_size", "indice_dict", "grid", "voxel_num"),
    *("benchmark", "benchmark_record", "thrust_allocator", "force_algo", "int8_scale", "_timer"),
)


class SparseConvTensor:
    """Features of the occupied cells of a batch of grids.

    Args:
        features: [V, C].
        indices: [V, D + 1] int32: batch, z, y, x. Each voxel once.
        spatial_shape: cells along z, y, x.
        batch_size: the number of samples.
        indice_dict: the maps of layers with an `indice_key`, which results take along.

    The other arguments are kept, and change nothing.

    Raises:
        ValueError: if shapes don't fit.
        TypeError: if `indices` is not int32.
    """

    def __init__(
        self,
        features: Tensor,
        indices: Tensor,
        spatial_shape: Sequence[int] | Any,
        batch_size: int,
        grid: Tensor | None = None,
        voxel_num: Tensor | None = None,
        indice_dict: dict[Any, Any] | None = None,
        benchmark: bool = False,
        permanent_thrust_allocator: bool = False,
        enable_timer: bool = False,
        force_algo: ConvAlgo | None = None,
    ) -> None:
        self.spatial_shape = [int(cells) for cells in spatial_shape]
        _check(features, indices, self.spatial_shape, batch_size)
        self.features = features
        self._sites = Sites()
        self.indices = indices
        self.batch_size = integer("SparseConvTensor", "batch_size", batch_size)
        self.indice_dict: dict[Any, Any] = {} if indice_dict is None else indice_dict
        self.grid = torch.Tensor() if grid is None else grid
        self.voxel_num = voxel_num
        self.benchmark = benchmark
        self.benchmark_record: dict[str, Any] = {}
        self.thrust_allocator = None
        self.force_algo = force_algo
        self.int8_scale: Any = None
        self._timer = Timer()

    @classmethod
    def from_dense(cls, x: Tensor) -> SparseConvTensor:
        """The cells of [B, *spatial_shape, C] in which any channel is not zero."""
        occupied = (x != 0).any(-1)
        indices = occupied.nonzero().int()
        return cls(x[occupied], indices, x.shape[1:-1], x.shape[0])

    @property
    def indices(self) -> Tensor:
        return self._indices

    @indices.setter
    def indices(self, indices: Tensor) -> None:
        self._indices: Tensor = with_version(indices)

    @property
    def voxels(self) -> VoxelSet:
        """The voxel set of the indices as they are now, which keeps the kernel maps."""
        where = (self.indices, self.spatial_shape, self.batch_size)
        if not self._sites.fit(*where):
            self._sites = Sites()
        return self._sites.voxels(*where)

    @property
    def sites(self) -> Sites:
        """What holds the voxel set, for tensors at the same voxels."""
        assert self.voxels is not None
        return self._sites

    def adopt(self, sites: Sites) -> None:
        """Takes the voxel set, and with it the maps, of another tensor with these very indices."""
        if sites.fit(self.indices, self.spatial_shape, self.batch_size):
            self._sites = sites

    def __repr__(self) -> str:
        return f"SparseConvTensor[shape={self.features.shape}]"

    @property
    def is_quantized(self) -> bool:
        return False

    def q_scale(self) -> float:
        raise ValueError("SparseConvTensor: `features` must be quantized for q_scale()")

    def dequantize(self) -> SparseConvTensor:
        return self.replace_feature(self.features.dequantize())

    def replace_feature(self, feature: Tensor) -> SparseConvTensor:
        """The same voxels with other features."""
        tensor = self.shadow_copy()
        tensor.features = feature
        return tensor

    def shadow_copy(self) -> SparseConvTensor:
        """Another tensor of the same parts."""
        tensor = SparseConvTensor.__new__(type(self))
        for name in _PARTS:
            setattr(tensor, name, getattr(self, name))
        tensor.spatial_shape = list(self.spatial_shape)
        return tensor

    def at(
        self, sites: Sites, indices: Tensor, spatial_shape: Sequence[int], features: Tensor
    ) -> SparseConvTensor:
        """Features at the voxels of a layer's output."""
        tensor = self.replace_feature(features)
        tensor.spatial_shape = list(spatial_shape)
        tensor.indices = indices
        tensor._sites = sites
        return tensor

    def select_by_index(self, valid_indices: Tensor) -> SparseConvTensor:
        """Some of the rows, by number or by mask; maps by key are forgotten."""
        tensor = self.replace_feature(self.features[valid_indices])
        tensor.indices = self.indices[valid_indices]
        tensor.indice_dict = {}
        return tensor

    def minus(self) -> SparseConvTensor:
        return self.replace_feature(-self.features)

    @property
    def spatial_size(self) -> int:
        return math.prod(self.spatial_shape)

    @property
    def sparity(self) -> float:
        """The share of cells that are occupied."""
        return self.indices.shape[0] / self.spatial_size / self.batch_size

    def find_indice_pair(self, key: Any) -> IndiceData | None:
        """What a layer with this `indice_key` has left."""
        return None if key is None else self.indice_dict.get(key)

    def dense(self, channels_first: bool = True) -> Tensor:
        """[B, C, *spatial_shape], or channels last; zeros where there is no voxel.

        Raises:
            IndexError: if a voxel is outside of the grid.
            ValueError: if two voxels are equal.
        """
        if len(self.spatial_shape) <= 3:
            self.voxels.check()
        axes = range(len(self.spatial_shape) + 2)
        order = [0, axes[-1], *axes[1:-1]] if channels_first else axes
        shape = (self.batch_size, *self.spatial_shape)
        return dense_grid(self.features, self.indices, shape, order)

    def __add__(self, other: SparseConvTensor | Tensor) -> SparseConvTensor:
        """Row by row; `functional.sparse_add` is for tensors at other voxels."""
        return self.replace_feature(self.features + _features_of(other))

    __radd__ = __add__

    def __iadd__(self, other: SparseConvTensor | Tensor) -> SparseConvTensor:
        self.features = self.features + _features_of(other)
        return self


class Timer:
    """spconv's timer of kernels, which measures nothing here."""

    enable = False

    def namespace(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def record(self, name: str, stream: int = 0) -> AbstractContextManager[None]:
        return nullcontext()

    def get_all_pair_time(self) -> dict[str, float]:
        return {}


def expand_nd(ndim: int, val: int | Sequence[int] | Any) -> list[int]:
    """One number per axis."""
    return list(per_axis("spconv", "val", val, ndim))


def scatter_nd(indices: Tensor, updates: Tensor, shape: Sequence[int]) -> Tensor:
    """Zeros of a shape with `updates` at `indices` [..., D], each of which comes once."""
    places = tuple(indices.long().unbind(-1))
    return updates.new_zeros(tuple(shape)).index_put(places, updates)


def _features_of(other: SparseConvTensor | Tensor) -> Tensor:
    if not isinstance(other, SparseConvTensor | Tensor):
        raise TypeError(
            "SparseConvTensor: what is added must be a SparseConvTensor or a tensor, got "
            f"{type(other).__name__}"
        )
    return other if isinstance(other, Tensor) else other.features


def _check(
    features: Tensor, indices: Tensor, spatial_shape: Sequence[int], batch_size: int
) -> None:
    if features.dim() != 2:
        raise ValueError(
            f"SparseConvTensor: `features` must be [V, C], got shape {tuple(features.shape)}"
        )
    if indices.dim() != 2 or indices.shape[1] != len(spatial_shape) + 1:
        raise ValueError(
            f"SparseConvTensor: `indices` must be [V, {len(spatial_shape) + 1}] for "
            f"`spatial_shape` {spatial_shape}, got shape {tuple(indices.shape)}"
        )
    if indices.dtype != torch.int32:
        raise TypeError(f"SparseConvTensor: `indices` must be int32, got {indices.dtype}")
    if batch_size < 1:
        raise ValueError(f"SparseConvTensor: `batch_size` must be at least 1, got {batch_size}")
