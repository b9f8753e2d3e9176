"""Output voxels and kernel maps as torchsparse has them, by the native index."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from elite_ops.compat.torchsparse.tensor import get_allow_negative_coordinates
from elite_ops.compat.torchsparse.versions import convention
from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.ops.kernel_map import (
    build_kernel_map,
    build_strided_map,
    connect_voxels,
    output_voxels,
)

__all__ = ["Connection", "connect", "downsample", "rows_around"]

Ints = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """A convolution's numbers along each axis, and what they mean.

    `outputs` are: "same", the inputs; "reached", all that an input reaches, as in torch's dense
    convolution; "floor", the cells of the stride that hold an input; "offset", the cells of the
    stride that an offset leads to from an input, none of which lies before all inputs.
    """

    size: Ints
    stride: Ints
    padding: Ints  # of the outputs
    shift: Ints  # the offset under which a kernel meets the first cell of its output
    outputs: Literal["same", "reached", "floor", "offset"]

    @staticmethod
    def of(size: Ints, stride: Ints, padding: Ints, config: Mapping[str, Any]) -> Kernel:
        centre = tuple((n - 1) // 2 for n in size)
        is_exact = all(s in (1, n) for s, n in zip(stride, size, strict=True))
        if convention().counts_strides and config["kmap_mode"] == "hashmap_on_the_fly":
            if max(stride) > 1:
                return Kernel(size, stride, padding, padding, "reached")
            begin = centre if math.prod(size) % 2 == 1 else (0, 0, 0)
            return Kernel(size, stride, padding, begin, "same")
        if max(stride) == 1:
            return Kernel(size, stride, padding, centre, "same")
        if is_exact or (convention().counts_strides and config["downsample_mode"] == "minkowski"):
            return Kernel(size, stride, padding, centre, "floor")
        outputs: Literal["reached", "offset"] = (
            "reached" if convention().counts_strides else "offset"
        )
        return Kernel(size, stride, padding, centre, outputs)


@dataclass(frozen=True)
class Connection:
    """The outputs of a convolution, and which inputs they meet."""

    coords: Tensor  # [V_out, 4]
    kernel_map: KernelMap
    spatial_range: Ints | None
    padding: Ints


@dataclass(frozen=True)
class Box:
    """Cells as the native index takes them: from 0 on, in a grid that holds them."""

    indices: Tensor  # [V, 4] int32: batch, x, y, z
    shape: Ints
    batch_size: int
    lowest: Ints  # of the cells before they were moved
    moved: Ints  # cells of the stride by which they were moved

    @staticmethod
    def around(cells: Tensor, stride: Ints, room: Ints) -> Box:
        """With so many cells of the stride in front, or more, that none is negative."""
        lowest, highest = [0] * 4, [-1] * 4
        if len(cells) > 0:
            lowest, highest = torch.stack([cells.amin(0), cells.amax(0)]).tolist()
        if lowest[0] < 0:
            raise ValueError(f"conv3d: batch numbers must not be negative, got {lowest[0]}")
        moved = tuple(
            max(r, -(low // s), 0) for low, s, r in zip(lowest[1:], stride, room, strict=True)
        )
        shape = tuple(
            high + 1 + m * s for high, m, s in zip(highest[1:], moved, stride, strict=True)
        )
        by = cells.new_tensor([0, *(m * s for m, s in zip(moved, stride, strict=True))])
        return Box(
            (cells + by).int(),
            tuple(max(n, 1) for n in shape),
            max(highest[0] + 1, 1),
            tuple(lowest[1:]),
            moved,
        )


@dataclass(frozen=True)
class Reach:
    """How the outputs of a strided convolution are found: what a geometry reaches in a grid."""

    box: Box
    shape: Ints  # the grid, whose last outputs are the last ones
    geometry: KernelGeometry
    firsts: Ints  # the first outputs along each axis

    @staticmethod
    def of(cells: Tensor, kernel: Kernel, spatial_range: Ints | None) -> Reach:
        size, stride = kernel.size, kernel.stride
        if kernel.outputs == "reached":
            return Reach._bounded(cells, kernel, spatial_range)
        box = Box.around(cells, stride, (0, 0, 0))
        if kernel.outputs == "floor":
            shape = tuple(-(-n // s) * s for n, s in zip(box.shape, stride, strict=True))
            geometry = KernelGeometry.of(stride, stride=stride, op="conv3d")
            return Reach(box, shape, geometry, (0, 0, 0))
        shape = tuple(n + k for n, k in zip(box.shape, size, strict=True))
        ends = tuple(n // 2 for n in size)
        geometry = KernelGeometry.of(size, stride=stride, padding=ends, op="conv3d")
        sides = zip(box.lowest, stride, box.moved, strict=True)
        return Reach(box, shape, geometry, tuple(-(-low // s) + m for low, s, m in sides))

    @staticmethod
    def _bounded(cells: Tensor, kernel: Kernel, spatial_range: Ints | None) -> Reach:
        """As torchsparse 2.1: outputs from 0, or from what it takes for the first of negative ones.

        The last ones are those of the last cell, or of the range.
        """
        size, stride, padding = kernel.size, kernel.stride, kernel.padding
        box = Box.around(cells, stride, (0, 0, 0))
        firsts: Ints = (0, 0, 0)
        if get_allow_negative_coordinates() or min(box.lowest) < 0:
            sides = zip(box.lowest, size, stride, padding, strict=True)
            firsts = tuple(math.trunc((low - 2 * p + n - 1) / s) for low, n, s, p in sides)
            box = Box.around(cells, stride, tuple(max(-first, 0) for first in firsts))
        shape = box.shape
        if spatial_range is not None:
            ends = zip(spatial_range[1:], box.moved, stride, strict=True)
            shape = tuple(end + m * s for end, m, s in ends)
        geometry = KernelGeometry.of(size, stride=stride, padding=padding, op="conv3d")
        moved_firsts = tuple(f + m for f, m in zip(firsts, box.moved, strict=True))
        return Reach(box, shape, geometry, moved_firsts)

    def outputs(self) -> Tensor:
        """Moved as much as the box is."""
        if min(self.geometry.output_shape(self.shape)) < 1:
            return self.box.indices[:0]
        found = output_voxels(
            self.box.indices,
            spatial_shape=self.shape,
            batch_size=self.box.batch_size,
            geometry=self.geometry,
        )
        if max(self.firsts) <= 0:
            return found
        return found[(found[:, 1:] >= found.new_tensor(self.firsts)).all(1)]

    def connected(self, kernel: Kernel) -> tuple[Tensor, KernelMap]:
        """The outputs, and the map to them."""
        geometry = KernelGeometry.of(kernel.size, stride=kernel.stride, padding=kernel.shift)
        fits = min(geometry.output_shape(self.shape)) > 0
        if geometry == self.geometry and max(self.firsts) <= 0 and fits:
            return build_strided_map(
                self.box.indices,
                spatial_shape=self.shape,
                batch_size=self.box.batch_size,
                geometry=geometry,
            )
        found = self.outputs()
        out_shape = (found[:, 1:].amax(0) + 1).tolist() if len(found) > 0 else [1, 1, 1]
        kernel_map = connect_voxels(
            self.box.indices,
            self.box.shape,
            found,
            out_shape,
            batch_size=self.box.batch_size,
            geometry=geometry,
        )
        return found, kernel_map


def connect(
    coords: Tensor,  # [V, 4], of the version's convention
    tensor_stride: Ints,
    spatial_range: Ints | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    config: Mapping[str, Any],
) -> Connection:
    """The outputs of a convolution and its map, whose offsets are in the order of the weights.

    *Sync:* for the box around the voxels, and for the number of outputs.
    """
    KernelGeometry.of(size, stride=stride, padding=padding, op="conv3d")  # or one clear error
    kernel = Kernel.of(size, stride, padding, config)
    cells = _in_strides(coords, tensor_stride)
    if kernel.outputs == "same":
        box = Box.around(cells, stride, (0, 0, 0))
        kernel_map = _in_order(_onto_itself(box, kernel), size)
        return Connection(coords, kernel_map, spatial_range, padding)
    reach = Reach.of(cells, kernel, spatial_range)
    found, kernel_map = reach.connected(kernel)
    return Connection(
        _moved_back(found, reach.box, tensor_stride, stride),
        _in_order(kernel_map, size),
        _next_range(spatial_range, kernel),
        padding,
    )


def downsample(
    coords: Tensor,
    tensor_stride: Ints,
    spatial_range: Ints | None,
    size: Ints,
    stride: Ints,
    padding: Ints,
    config: Mapping[str, Any],
) -> Tensor:
    """The outputs of `connect` alone."""
    kernel = Kernel.of(size, stride, padding, config)
    if kernel.outputs == "same":
        return coords
    reach = Reach.of(_in_strides(coords, tensor_stride), kernel, spatial_range)
    return _moved_back(reach.outputs(), reach.box, tensor_stride, stride)


def rows_around(cells: Tensor, centres: Tensor, size: Ints, stride: Ints) -> Tensor:  # [K, N]
    """The row of the cell that each offset of a centred kernel meets at each centre, or -1.

    Args:
        cells: [V, 4]: batch, x, y, z; each once.
        centres: [N, 4], which count strides; each once.
    """
    scale = centres.new_tensor([1, *stride])
    box = Box.around(torch.cat([cells, centres * scale]), stride, (0, 0, 0))
    moved = centres + centres.new_tensor([0, *box.moved])
    begin = tuple((n - 1) // 2 for n in size)
    kernel_map = connect_voxels(
        box.indices[: len(cells)],
        box.shape,
        moved.int(),
        box.shape,
        batch_size=box.batch_size,
        geometry=KernelGeometry.of(size, stride=stride, padding=begin, op="GPUHashTable"),
    )
    return _in_order(kernel_map, size).in_rows


def _in_strides(coords: Tensor, tensor_stride: Ints) -> Tensor:
    """The coordinates as (batch, x, y, z), counted in cells of their stride."""
    cells = convention().first(coords)
    if convention().counts_strides or max(tensor_stride) == 1:
        return cells
    scale = cells.new_tensor([1, *tensor_stride])
    if bool((cells % scale).any()):
        raise ValueError(
            f"conv3d: `coords` must be multiples of the tensor's stride {tensor_stride} along x, "
            "y, z"
        )
    return cells // scale


def _moved_back(found: Tensor, box: Box, tensor_stride: Ints, stride: Ints) -> Tensor:
    cells = found - found.new_tensor([0, *box.moved])
    return convention().back(cells, [t * s for t, s in zip(tensor_stride, stride, strict=True)])


def _onto_itself(box: Box, kernel: Kernel) -> KernelMap:
    if all(n % 2 == 1 for n in kernel.size):
        return build_kernel_map(
            box.indices,
            spatial_shape=box.shape,
            batch_size=box.batch_size,
            kernel_size=kernel.size,
        )
    geometry = KernelGeometry.of(kernel.size, padding=kernel.shift, op="conv3d")
    voxels = box.indices, box.shape
    return connect_voxels(*voxels, *voxels, batch_size=box.batch_size, geometry=geometry)


def _next_range(spatial_range: Ints | None, kernel: Kernel) -> Ints | None:
    if spatial_range is None:
        return None
    sides = zip(spatial_range[1:], kernel.size, kernel.stride, kernel.padding, strict=True)
    return (spatial_range[0], *((end + 2 * p - n) // s + 1 for end, n, s, p in sides))


def _in_order(kernel_map: KernelMap, size: Ints) -> KernelMap:
    """The map with x as the fastest axis of its offsets, where their number is odd."""
    if math.prod(size) % 2 == 0 or math.prod(size) == max(size):
        return kernel_map
    rows = kernel_map.in_rows.view(*size, kernel_map.num_out).permute(2, 1, 0, 3)
    return KernelMap(
        rows.reshape(kernel_map.in_rows.shape),
        kernel_map.num_in,
        kernel_map.geometry,
        symmetric=kernel_map.symmetric,
    )
