"""Features on the occupied voxels of a batch of grids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from elite_ops.dense_grid import dense_grid
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.ops.kernel_map import output_voxels
from elite_ops.voxel_set import VoxelSet

__all__ = ["SparseTensor", "cat"]


class SparseTensor:
    """One row of features per voxel.

    Tensors made by `replace` share the voxels, and with them the kernel maps.

    Args:
        features: of any floating dtype.
        voxels: where they are.

    Raises:
        ValueError: if there are not as many rows of features as voxels, or devices differ.
        TypeError: if `features` is no tensor, or `voxels` no `VoxelSet`.
    """

    def __init__(
        self,
        features: Tensor,  # [V, C]
        voxels: VoxelSet,
    ) -> None:
        for name, value, kind in (("features", features, Tensor), ("voxels", voxels, VoxelSet)):
            if not isinstance(value, kind):
                raise TypeError(
                    f"SparseTensor: `{name}` must be a {kind.__name__}, got {type(value).__name__}"
                )
        if features.dim() != 2:
            raise ValueError(
                f"SparseTensor: `features` must be [V, C], got shape {tuple(features.shape)}"
            )
        if features.shape[0] != voxels.indices.shape[0]:
            raise ValueError(
                "SparseTensor: `features` must have one row per voxel, got "
                f"{features.shape[0]} rows for {voxels.indices.shape[0]} voxels"
            )
        if features.device != voxels.device:
            raise ValueError(
                "SparseTensor: `features` must be on the device of `voxels` "
                f"({voxels.device}), got {features.device}"
            )
        self.features = features
        self.voxels = voxels

    @classmethod
    def from_dense(
        cls,
        dense: Tensor,  # [B, C, *spatial_shape]
    ) -> SparseTensor:
        """The cells of dense grids in which any channel is not zero. On CUDA it waits for them."""
        indices = (dense != 0).any(1).nonzero()
        voxels = VoxelSet(indices.int(), tuple(dense.shape[2:]), dense.shape[0])
        features: Tensor = dense.movedim(1, -1)[tuple(indices.unbind(1))]
        return cls(features, voxels)

    @property
    def indices(self) -> Tensor:  # [V, D + 1] int32
        return self.voxels.indices

    @property
    def spatial_shape(self) -> tuple[int, ...]:
        return self.voxels.spatial_shape

    @property
    def batch_size(self) -> int:
        return self.voxels.batch_size

    @property
    def device(self) -> torch.device:
        return self.features.device

    @property
    def dtype(self) -> torch.dtype:
        return self.features.dtype

    def __len__(self) -> int:
        return len(self.voxels)

    def __repr__(self) -> str:
        return f"SparseTensor({tuple(self.features.shape)}, {self.dtype}, {self.voxels!r})"

    def replace(
        self,
        features: Tensor,  # [V, C']
    ) -> SparseTensor:
        """The same voxels with other features."""
        return SparseTensor(features, self.voxels)

    def to(self, *args: Any, **kwargs: Any) -> SparseTensor:
        """As `torch.Tensor.to`; the dtype is that of the features, the device that of all."""
        features = self.features.to(*args, **kwargs)
        voxels = self.voxels
        if features.device != voxels.device:
            voxels = voxels.to(features.device, non_blocking=kwargs.get("non_blocking", False))
        return SparseTensor(features, voxels)

    def half(self) -> SparseTensor:
        return self.to(torch.float16)

    def bfloat16(self) -> SparseTensor:
        return self.to(torch.bfloat16)

    def float(self) -> SparseTensor:
        return self.to(torch.float32)

    def double(self) -> SparseTensor:
        return self.to(torch.float64)

    def cpu(self) -> SparseTensor:
        return self.to("cpu")

    def cuda(self) -> SparseTensor:
        return self.to("cuda")

    def detach(self) -> SparseTensor:
        return self.replace(self.features.detach())

    def __add__(self, other: SparseTensor) -> SparseTensor:
        """The sum; a tensor counts as zero where it has no voxel."""
        if not isinstance(other, SparseTensor):
            return NotImplemented
        if self.voxels is other.voxels:
            return self.replace(self.features + other.features)
        return self.union(other)

    def union(self, other: SparseTensor) -> SparseTensor:
        """The sum on the voxels of both, in order of (batch, *cell). On CUDA it waits for them.

        Raises:
            ValueError: if grids, samples or devices differ.
        """
        voxels, rows = union_of([self.voxels, other.voxels])
        ours, theirs = (
            _spread(x.features, r, len(voxels)) for x, r in zip((self, other), rows, strict=True)
        )
        return SparseTensor(ours + theirs, voxels)

    def select(self, mask: Tensor) -> SparseTensor:  # [V] bool
        """The voxels where a mask is true: pruning. On CUDA it waits for their number.

        Raises:
            TypeError, ValueError: if the mask is not bool, or not as long as the voxels.
        """
        voxels = self.voxels.select(mask)
        return SparseTensor(self.features[mask], voxels)

    def dense(self, *, channels_first: bool = True) -> Tensor:  # [B, C, *spatial_shape]
        """The whole grids, with zeros where there is no voxel.

        Args:
            channels_first: else the channels come last.

        Raises:
            IndexError: if a voxel is outside the grid.
            ValueError: if two voxels are equal.
        """
        axes = range(len(self.spatial_shape) + 2)
        if not channels_first:
            return self._grid(axes)
        return self._grid([0, axes[-1], *axes[1:-1]])

    def bev(self) -> Tensor:  # [B, C * Z, X, Y]
        """A bird's-eye view: the whole grids with the cells along the last axis as channels.

        Raises:
            IndexError, ValueError: as `dense`.
        """
        axes = range(len(self.spatial_shape) + 2)
        return self._grid([0, axes[-1], axes[-2], *axes[1:-2]]).flatten(1, 2)

    def _grid(self, axes: Sequence[int]) -> Tensor:
        """The whole grids [B, *spatial_shape, C] with their axes in another order, contiguous."""
        self.voxels.check()
        shape = (self.batch_size, *self.spatial_shape)
        return dense_grid(self.features, self.indices, shape, axes)


def cat(tensors: Sequence[SparseTensor]) -> SparseTensor:
    """The channels of all tensors one after the other.

    Where their voxels are not the same, those of the result are the voxels of all, and a tensor
    counts as zero where it has none.

    Raises:
        ValueError: if there are none, or grids, samples or devices differ.
    """
    if not tensors:
        raise ValueError("cat: `tensors` must hold one or more, got none")
    for x in tensors:
        if not isinstance(x, SparseTensor):
            raise TypeError(f"cat: `tensors` must hold SparseTensors, got {type(x).__name__}")
    first = tensors[0]
    if all(x.voxels is first.voxels for x in tensors):
        return first.replace(torch.cat([x.features for x in tensors], dim=1))
    voxels, rows = union_of([x.voxels for x in tensors])
    parts = [_spread(x.features, r, len(voxels)) for x, r in zip(tensors, rows, strict=True)]
    return SparseTensor(torch.cat(parts, dim=1), voxels)


def union_of(sets: Sequence[VoxelSet]) -> tuple[VoxelSet, list[Tensor]]:
    """The voxels of all sets, and the row there of each set's voxels."""
    first = sets[0]
    for other in sets[1:]:
        for name in ("spatial_shape", "batch_size", "device"):
            ours, theirs = getattr(first, name), getattr(other, name)
            if ours != theirs:
                raise ValueError(
                    f"SparseTensor: tensors that are joined must have the same {name}, got {ours} "
                    f"and {theirs}"
                )
    point = KernelGeometry.of(1, num_axes=first.num_axes)
    indices = torch.cat([voxels.in_3d()[0] for voxels in sets])
    found = output_voxels(
        indices,
        spatial_shape=first.in_3d()[1],
        batch_size=first.batch_size,
        geometry=point.in_3d(),
    )
    joined = first.like(found)
    return joined, [joined.kernel_map_onto(voxels, point).in_rows[0] for voxels in sets]


def _spread(features: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """Each row of features at its own row of a larger matrix."""
    return features.new_zeros(num_rows, features.shape[1]).index_put((rows.long(),), features)


pytree.register_pytree_node(
    SparseTensor,
    lambda x: ([x.features, x.voxels], None),
    lambda children, _: _unchecked(*children),
    serialized_type_name="elite_ops.SparseTensor",
)
torch.serialization.add_safe_globals([SparseTensor])


def _unchecked(features: Any, voxels: Any) -> SparseTensor:
    """Trees may hold anything in place of tensors."""
    tensor = SparseTensor.__new__(SparseTensor)
    tensor.features, tensor.voxels = features, voxels
    return tensor
