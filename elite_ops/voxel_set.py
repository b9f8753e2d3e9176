"""The occupied cells of a batch of grids, and the kernel maps between them."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from elite_ops._extension import on_cuda
from elite_ops.arguments import integer
from elite_ops.errors import check_device_errors
from elite_ops.kernel_geometry import MAX_CELLS, KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.ops.kernel_map import build_kernel_map, build_strided_map, connect_voxels
from elite_ops.per_axis import per_axis

__all__ = ["VoxelSet"]


class VoxelSet:
    """Occupied cells, each once.

    The set keeps the kernel maps that were built from it: layers on the same set share them. When
    `indices` is changed in place they are built again.

    Args:
        indices: batch, x, y, z; or batch, y, x of two-dimensional grids. In any order; sorted ones,
            as from `voxelize`, are fastest.
        spatial_shape: cells along each axis.
        batch_size: the number of samples; a sample may have no voxel.
        num_rows: how many rows are valid, on the device, where `indices` is a padded buffer.

    Raises:
        ValueError: if a shape makes no sense.
        TypeError: if `indices` is no tensor of int32, or a number no integer.
    """

    def __init__(
        self,
        indices: Tensor,  # [V, D + 1] int32
        spatial_shape: Sequence[int],
        batch_size: int,
        *,
        num_rows: Tensor | None = None,  # [] int64
    ) -> None:
        num_axes = len(spatial_shape) if hasattr(spatial_shape, "__len__") else 1
        shape = per_axis("VoxelSet", "spatial_shape", spatial_shape, num_axes)
        batch_size = integer("VoxelSet", "batch_size", batch_size)
        self._check(indices, shape, batch_size)
        self._fill(indices, shape, batch_size, num_rows)

    def _fill(
        self, indices: Any, spatial_shape: tuple[int, ...], batch_size: int, num_rows: Any
    ) -> None:
        self.indices: Tensor = indices
        self.spatial_shape = spatial_shape
        self.batch_size = batch_size
        self.num_rows = num_rows
        self._start()

    def _start(self) -> None:
        """Without anything that was made from `indices`."""
        self.indices = with_version(self.indices)
        self._origin: tuple[VoxelSet, KernelMap, int] | None = None  # and the set's version
        self._maps: dict[KernelGeometry, KernelMap] = {}
        # Weak, since an output knows the set that it was made from.
        self._outputs: dict[KernelGeometry, weakref.ref[VoxelSet]] = {}
        is_counted = isinstance(self.indices, Tensor) and not torch.compiler.is_compiling()
        self._version: int = self.indices._version if is_counted else 0
        self._is_checked = False

    def __getstate__(self) -> dict[str, Any]:
        """Copies and pickles have the voxels, and neither maps nor an origin."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._start()

    def __len__(self) -> int:
        return self.indices.shape[0]

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} voxels, spatial_shape={self.spatial_shape}, "
            f"batch_size={self.batch_size}, device={self.device})"
        )

    @property
    def device(self) -> torch.device:
        return self.indices.device

    @property
    def num_axes(self) -> int:
        return len(self.spatial_shape)

    @property
    def origin(self) -> tuple[VoxelSet, KernelMap]:
        """The set that this one is the output of, and the map that leads from there to here.

        Raises:
            ValueError: if there is none: the voxels were not made by a convolution or pooling, or
                they have been changed since.
        """
        if self._origin is None:
            raise ValueError("VoxelSet: these voxels are not the output of a convolution")
        voxels, kernel_map, version = self._origin
        if self._is_changed or voxels._changed_since(version):
            raise ValueError(
                "VoxelSet: `indices` were changed in place since a convolution made these voxels"
            )
        return voxels, kernel_map

    def kernel_map(self, geometry: KernelGeometry) -> tuple[VoxelSet, KernelMap]:
        """The output voxels of a convolution of these, and the map between both.

        Both are built at the first use and kept: the map of a submanifold convolution with this
        set, others as long as their output voxels are in use.

        Args:
            geometry: which cells the kernel connects, along as many axes as the grid has.

        Raises:
            ValueError: if the kernel doesn't fit, or the voxels are a padded buffer whose map did
                not come with it.
            IndexError, ValueError: from `build_kernel_map`, where voxels are outside the grid or
                not unique.
        """
        self._check_geometry(geometry)
        self._forget_stale_maps()
        if geometry.submanifold:
            if geometry not in self._maps:
                self._check_not_padded()
                self._maps[geometry] = self._connect(self, geometry)
            return self, self._maps[geometry]
        reference = self._outputs.get(geometry)
        output = None if reference is None else reference()
        if output is None or output._is_changed:
            output = self._make_output(geometry)
            self._outputs[geometry] = weakref.ref(output)
        return output, output.origin[1]

    def submanifold_map(
        self, kernel_size: int | Sequence[int] = 3, dilation: int | Sequence[int] = 1
    ) -> KernelMap:
        """The map of a submanifold convolution on these voxels; see `kernel_map`."""
        geometry = KernelGeometry.of_submanifold(
            kernel_size, dilation=dilation, num_axes=self.num_axes, op="VoxelSet"
        )
        return self.kernel_map(geometry)[1]

    def kernel_map_onto(self, output: VoxelSet, geometry: KernelGeometry) -> KernelMap:
        """The map of a convolution from these voxels to others that are given.

        Raises:
            ValueError: if numbers of axes, samples or devices differ, or one is a padded buffer.
        """
        self._check_geometry(geometry)
        if not isinstance(output, VoxelSet):
            raise TypeError(f"VoxelSet: `output` must be a VoxelSet, got {type(output).__name__}")
        for name in ("num_axes", "batch_size", "device"):
            ours, theirs = getattr(self, name), getattr(output, name)
            if ours != theirs:
                raise ValueError(
                    f"VoxelSet: `output` must have the same {name} ({ours}), got {theirs}"
                )
        self._check_not_padded()
        output._check_not_padded()
        return self._connect(output, geometry)

    def select(self, mask: Tensor) -> VoxelSet:  # [V] bool
        """The voxels where a mask is true.

        Raises:
            TypeError, ValueError: if the mask is not bool, or not as long as the voxels.
        """
        self._check_not_padded()
        if mask.dtype != torch.bool:
            raise TypeError(f"select: `mask` must be bool, got {mask.dtype}")
        if mask.shape != (len(self),):
            raise ValueError(f"select: `mask` must be [{len(self)}], got {list(mask.shape)}")
        return VoxelSet(self.indices[mask], self.spatial_shape, self.batch_size)

    def check(self) -> None:
        """Makes sure that the voxels are inside their grid, and unique; once for these voxels.

        On CUDA it waits for the device.

        Raises:
            IndexError: if a voxel is outside the grid.
            ValueError: if two voxels are equal, or the voxels are a padded buffer.
        """
        self._check_not_padded()
        self._forget_stale_maps()
        if not self._is_checked:
            self.submanifold_map(1)
            if on_cuda(self.indices) and not torch.compiler.is_compiling():
                check_device_errors(None if self.indices.is_cpu else self.device)
            self._is_checked = True

    def like(self, indices: Tensor, spatial_shape: Sequence[int] | None = None) -> VoxelSet:
        """Voxels of the same samples, from indices [V, 4] as `in_3d` gives them."""
        if self.num_axes == 2:
            indices = torch.cat([indices[:, :1], indices[:, 2:]], dim=1)
        return VoxelSet(indices, spatial_shape or self.spatial_shape, self.batch_size)

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> VoxelSet:
        """The voxels on a device, without the maps."""
        num_rows = self.num_rows
        if num_rows is not None:
            num_rows = num_rows.to(device, non_blocking=non_blocking)
        indices = self.indices.to(device, non_blocking=non_blocking)
        return VoxelSet(indices, self.spatial_shape, self.batch_size, num_rows=num_rows)

    def in_3d(self) -> tuple[Tensor, tuple[int, ...]]:
        """Indices [V, 4] and shape with axes of one cell in front, up to three."""
        missing = 3 - self.num_axes
        if missing == 0:
            return self.indices, self.spatial_shape
        batch, cell = self.indices[:, :1], self.indices[:, 1:]
        indices = torch.cat([batch, batch.new_zeros(len(self), missing), cell], dim=1)
        return indices, (1,) * missing + self.spatial_shape

    def store(self, geometry: KernelGeometry, kernel_map: KernelMap) -> None:
        """Keeps a map of a submanifold convolution that was built elsewhere."""
        self._maps[geometry] = kernel_map

    def _connect(self, output: VoxelSet, geometry: KernelGeometry) -> KernelMap:
        indices, shape = self.in_3d()
        if geometry.symmetric and output is self:
            cubic = geometry.in_3d()
            kernel_map = build_kernel_map(
                indices,
                spatial_shape=shape,
                batch_size=self.batch_size,
                kernel_size=cubic.kernel_size,
                dilation=cubic.dilation,
            )
        else:
            out_indices, out_shape = output.in_3d()
            kernel_map = connect_voxels(
                indices,
                shape,
                out_indices,
                out_shape,
                batch_size=self.batch_size,
                geometry=geometry.in_3d(),
            )
        kernel_map.geometry = geometry  # of two axes, where the ops know three
        return kernel_map

    def _make_output(self, geometry: KernelGeometry) -> VoxelSet:
        self._check_not_padded()
        indices, shape = self.in_3d()
        found, kernel_map = build_strided_map(
            indices,
            spatial_shape=shape,
            batch_size=self.batch_size,
            geometry=geometry.in_3d(),
        )
        kernel_map.geometry = geometry
        output = self.like(found, geometry.output_shape(self.spatial_shape))
        output._origin = (self, kernel_map, self._version)
        return output

    @property
    def _is_changed(self) -> bool:
        return self._changed_since(self._version)

    def _changed_since(self, version: int) -> bool:
        """Whether `indices` were changed in place, where that can be known."""
        return not torch.compiler.is_compiling() and self.indices._version != version

    def _forget_stale_maps(self) -> None:
        if self._is_changed:
            self._start()

    def _check_geometry(self, geometry: KernelGeometry) -> None:
        if not isinstance(geometry, KernelGeometry):
            raise TypeError(
                f"VoxelSet: `geometry` must be a KernelGeometry, got {type(geometry).__name__}"
            )
        if geometry.num_axes != self.num_axes:
            raise ValueError(
                f"VoxelSet: `geometry` must have as many axes as the grid ({self.num_axes}), got "
                f"{geometry.num_axes}"
            )
        shape = geometry.output_shape(self.spatial_shape)
        if min(shape) < 1:
            raise ValueError(
                f"VoxelSet: the kernel must fit into the padded grid {self.spatial_shape}, got "
                f"{geometry}, whose output would have shape {shape}"
            )

    def _check_not_padded(self) -> None:
        if self.num_rows is not None:
            raise ValueError(
                "VoxelSet: these voxels are a padded buffer, which only ops that take `num_rows` "
                "can read; leave `capacity` out of `voxelize`, or have it build the kernel map"
            )

    @staticmethod
    def _check(indices: Tensor, shape: tuple[int, ...], batch_size: int) -> None:
        if len(shape) not in (2, 3) or not all(1 <= size <= MAX_CELLS for size in shape):
            raise ValueError(
                "VoxelSet: `spatial_shape` must be two or three numbers of cells between 1 and "
                f"2^24, got {shape}"
            )
        if batch_size < 1:
            raise ValueError(f"VoxelSet: `batch_size` must be at least 1, got {batch_size}")
        if not isinstance(indices, Tensor):
            raise TypeError(f"VoxelSet: `indices` must be a Tensor, got {type(indices).__name__}")
        if indices.dim() != 2 or indices.shape[1] != len(shape) + 1:
            raise ValueError(
                f"VoxelSet: `indices` must be [V, {len(shape) + 1}], got shape "
                f"{tuple(indices.shape)}"
            )
        if indices.dtype != torch.int32:
            raise TypeError(f"VoxelSet: `indices` must be int32, got {indices.dtype}")


def _flatten(voxels: VoxelSet) -> tuple[list[Any], Any]:
    tensors = [voxels.indices] if voxels.num_rows is None else [voxels.indices, voxels.num_rows]
    return tensors, (voxels.spatial_shape, voxels.batch_size)


def _unflatten(children: Any, context: Any) -> VoxelSet:
    """Without checks: trees may hold anything in place of tensors."""
    voxels = VoxelSet.__new__(VoxelSet)
    indices, *num_rows = children
    spatial_shape, batch_size = context
    voxels._fill(indices, spatial_shape, batch_size, num_rows[0] if num_rows else None)
    return voxels


pytree.register_pytree_node(
    VoxelSet, _flatten, _unflatten, serialized_type_name="elite_ops.VoxelSet"
)
torch.serialization.add_safe_globals([VoxelSet])


def with_version(indices: Any) -> Any:
    """A tensor that counts its changes in place, which those made in inference mode don't."""
    is_tensor = isinstance(indices, Tensor)
    if torch.compiler.is_compiling() or not is_tensor or not indices.is_inference():
        return indices
    with torch.inference_mode(False):
        return indices.clone()
