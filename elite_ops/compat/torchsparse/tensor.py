"""Features on voxels, and on points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Self

from elite_ops.compat.torchsparse.utils import make_ntuple, to_dense
from elite_ops.compat.torchsparse.utils.tensor_cache import TensorCache, new_cache

__all__ = ["PointTensor", "SparseTensor"]

_allow_negative_coordinates = False


def get_allow_negative_coordinates() -> bool:
    return _allow_negative_coordinates


def set_allow_negative_coordinates(allow_negative_coordinates: bool) -> None:
    """Whether strided convolutions may make voxels below 0 (2.1).

    Where coordinates are negative, they do so in any case.
    """
    global _allow_negative_coordinates
    _allow_negative_coordinates = allow_negative_coordinates


class SparseTensor:
    """A row of features for each voxel.

    Args:
        feats: [V, C].
        coords: [V, 4] int32; what the columns are depends on the version (`use_version`). Each
            voxel once, in any order.
        stride: how many cells of the first grid a voxel is wide; one number, or one per axis.
        spatial_range: samples, and cells along x, y, z, of the grid (2.1).
    """

    def __init__(
        self,
        feats: Tensor,
        coords: Tensor,
        stride: int | Sequence[int] = 1,
        spatial_range: Sequence[int] | None = None,
    ) -> None:
        self.feats = feats
        self.coords = coords
        self.stride = make_ntuple(stride, ndim=3)
        self.spatial_range = None if spatial_range is None else tuple(spatial_range)
        self._caches: TensorCache = new_cache()

    @property
    def F(self) -> Tensor:
        return self.feats

    @F.setter
    def F(self, feats: Tensor) -> None:
        self.feats = feats

    @property
    def C(self) -> Tensor:
        return self.coords

    @C.setter
    def C(self, coords: Tensor) -> None:
        self.coords = coords

    @property
    def s(self) -> tuple[int, ...]:
        return self.stride

    @s.setter
    def s(self, stride: int | Sequence[int]) -> None:
        self.stride = make_ntuple(stride, ndim=3)

    @property
    def cmaps(self) -> dict[tuple[int, ...], Any]:
        """Coordinates by stride."""
        return self._caches.cmaps

    @cmaps.setter
    def cmaps(self, cmaps: dict[tuple[int, ...], Any]) -> None:
        self._caches.cmaps = cmaps

    @property
    def kmaps(self) -> dict[tuple[Any, ...], Any]:
        """Kernel maps by stride, kernel size, the convolution's stride, and dilation."""
        return self._caches.kmaps

    @kmaps.setter
    def kmaps(self, kmaps: dict[tuple[Any, ...], Any]) -> None:
        self._caches.kmaps = kmaps

    def cpu(self) -> Self:
        return self.to("cpu", non_blocking=False)

    def cuda(self) -> Self:
        return self.to("cuda", non_blocking=False)

    def half(self) -> Self:
        self.feats = self.feats.half()
        return self

    def detach(self) -> Self:
        self.coords, self.feats = self.coords.detach(), self.feats.detach()
        return self

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Self:
        """Moves this tensor itself, but not what is cached."""
        self.coords = self.coords.to(device, non_blocking=non_blocking)
        self.feats = self.feats.to(device, non_blocking=non_blocking)
        return self

    def dense(self) -> Tensor:  # [*spatial_range, C]
        """The whole grids.

        Raises:
            ValueError: without a `spatial_range`.
        """
        if self.spatial_range is None:
            raise ValueError("SparseTensor.dense: `spatial_range` must be given to the tensor")
        return to_dense(self.feats, self.coords, self.spatial_range)

    def replace(self, feats: Tensor) -> SparseTensor:
        """The same voxels, with their caches, and other features."""
        output = SparseTensor(feats, self.coords, self.stride, self.spatial_range)
        output._caches = self._caches
        return output

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """The sum of features of the same voxels, row by row."""
        return self.replace(self.feats + other.feats)


class PointTensor:
    """A row of features for each point, and what was found of its voxels (1.4).

    Args:
        feats: [N, C].
        coords: [N, 4], floating.
        idx_query: rows of voxels around each point, by stride.
        weights: their weights, by stride.
    """

    def __init__(
        self,
        feats: Tensor,
        coords: Tensor,
        idx_query: dict[Any, Any] | None = None,
        weights: dict[Any, Any] | None = None,
    ) -> None:
        self.F = feats
        self.C = coords
        self.idx_query: dict[Any, Any] = {} if idx_query is None else idx_query
        self.weights: dict[Any, Any] = {} if weights is None else weights
        self.additional_features: dict[str, dict[Any, Any]] = {"idx_query": {}, "counts": {}}

    def cuda(self) -> Self:
        return self.to("cuda", non_blocking=False)

    def detach(self) -> Self:
        self.F, self.C = self.F.detach(), self.C.detach()
        return self

    def to(self, device: torch.device | str, non_blocking: bool = True) -> Self:
        self.F = self.F.to(device, non_blocking=non_blocking)
        self.C = self.C.to(device, non_blocking=non_blocking)
        return self

    def __add__(self, other: PointTensor) -> PointTensor:
        tensor = PointTensor(self.F + other.F, self.C, self.idx_query, self.weights)
        tensor.additional_features = self.additional_features
        return tensor
