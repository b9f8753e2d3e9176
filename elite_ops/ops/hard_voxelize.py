"""Voxels of limited number, each with up to so many of its points, as detectors take them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.registration import register_autograd, register_fake

__all__ = ["HardVoxels", "hard_voxelize"]


@dataclass(frozen=True, eq=False)
class HardVoxels:
    """The first voxels of each sample, and the first points of each voxel.

    Padded buffers have more rows than the first `num_voxels`, which are voxels: the others have
    points of 0, a count of 0 and indices of -1.
    """

    points: Tensor  # [V, T, 3 + F]: the points of each voxel, then rows of 0
    indices: Tensor  # [V, 4] int32: batch, x, y, z
    counts: Tensor  # [V] int32: how many of the T rows are points
    point_rows: Tensor  # [N] int32: the voxel of each point, -1 for none
    point_slots: Tensor  # [N] int32: its place among the points of the voxel, -1 if it has none
    num_voxels: Tensor  # [] int64, on the device
    spatial_shape: tuple[int, int, int]  # cells along x, y, z


def hard_voxelize(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    voxel_size: Sequence[float] | None = None,
    spatial_shape: Sequence[int] | None = None,
    max_points: int,
    max_voxels: int,
    batch_size: int | None = None,
    padded: bool = False,
) -> HardVoxels:
    """Finds the voxels that hold points and gathers their points: first come, first kept.

    Along each axis a point lies in cell

        floor((p - minimum) / voxel_size)

    in float32 and in this order of operations, of round((maximum - minimum) / voxel_size) cells. A
    point whose cell does not exist is left out. So are points that enter a new voxel where their
    sample has `max_voxels`, and points that enter a voxel with `max_points`; those keep its row in
    `point_rows`. Voxels are numbered sample by sample, and in each in the order in which points
    enter them, which is what one call a sample gives.

    `voxelize` is the dynamic kind, without limits: it keeps all points, where they are
    (`point_rows`), and is cheaper, and `segment_mean`, `segment_max` or `encode_voxels` make
    features of its voxels. Its cells are not quite these: their number along an axis is given and
    their size follows, a point must lie strictly inside of the range, so that one on the minimum
    has no voxel there, and its voxels are sorted.

    Args:
        points: the points of all samples. Coordinates are float32: cells are computed from them.
        batch_index: the sample of each point, in any order; without it there is one sample.
        point_cloud_range: x_min, y_min, z_min, x_max, y_max, z_max, in metres.
        voxel_size: of a cell along x, y, z, in metres.
        spatial_shape: the number of cells along x, y, z, instead: their size is the range by it.
        max_points: T, the points that a voxel may have.
        max_voxels: the voxels that a sample may have.
        batch_size: the number of samples; read from `batch_index` if not given.
        padded: whether the result has `batch_size` * `max_voxels` rows, however many are voxels,
            so that nothing waits for the device to count them.

    Returns:
        The voxels, with gradients from their points to `points`.

    Raises:
        IndexError: if an entry of `batch_index` is outside [0, batch_size). On CUDA with `padded`
            its point is left out instead, and `check_device_errors` reports it.
        ValueError: if a shape, the range, a size or a limit makes no sense, if both or neither of
            `voxel_size` and `spatial_shape` are given, or if the cells of all samples are too many
            for a 63-bit key.
        TypeError: if a dtype is not the one above, or a limit no integer.

    Example:
        >>> points = torch.tensor([[3.5, 0.5, 0.5], [0.5, 0.5, 0.5], [3.6, 0.5, 0.5]])
        >>> voxels = hard_voxelize(
        ...     points,
        ...     point_cloud_range=(0.0, 0.0, 0.0, 4.0, 4.0, 4.0),
        ...     voxel_size=(1.0, 1.0, 1.0),
        ...     max_points=2,
        ...     max_voxels=10,
        ... )
        >>> voxels.indices.tolist(), voxels.counts.tolist(), voxels.point_slots.tolist()
        ([[0, 3, 0, 0], [0, 0, 0, 0]], [2, 1], [0, 0, 1])

    *Differentiable:* in `points`, twice: those that are in no slot have a gradient of 0.
    *Sync:* CUDA: one for the number of voxels, none with `padded`; another for `batch_size` if it
    has to be read.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* hard voxelization of VoxelNet and SECOND (Yan et al., 2018), as in mmcv and spconv.
    """
    if batch_size is None:
        has_points = batch_index is not None and batch_index.numel() > 0
        batch_size = int(batch_index.max()) + 1 if has_points else 1  # type: ignore[union-attr]
    minimum, size, shape = _grid(point_cloud_range, voxel_size, spatial_shape)
    max_points = integer("hard_voxelize", "max_points", max_points)
    indices, counts, point_rows, point_slots, num_voxels = torch.ops.elite_ops.hard_voxelize(
        points,
        batch_index,
        minimum,
        size,
        shape,
        integer("hard_voxelize", "batch_size", batch_size),
        max_points,
        integer("hard_voxelize", "max_voxels", max_voxels),
        padded,
    )
    gathered = torch.ops.elite_ops.fill_slots(points, point_rows, point_slots, counts, max_points)
    return HardVoxels(gathered, indices, counts, point_rows, point_slots, num_voxels, shape)


def _grid(
    point_cloud_range: Sequence[float],
    voxel_size: Sequence[float] | None,
    spatial_shape: Sequence[int] | None,
) -> tuple[list[float], list[float], tuple[int, int, int]]:
    """The minimum, the size of the cells, and their number along each axis."""
    if (voxel_size is None) == (spatial_shape is None):
        given = "neither" if voxel_size is None else "both"
        raise ValueError(
            f"hard_voxelize: one of `voxel_size` and `spatial_shape` must be given, got {given}"
        )
    bounds = [float(bound) for bound in point_cloud_range]
    if len(bounds) != 6:
        raise ValueError(
            f"hard_voxelize: `point_cloud_range` must have 6 entries, got {tuple(bounds)}"
        )
    minimum, maximum = bounds[:3], bounds[3:]
    extent = [high - low for low, high in zip(minimum, maximum, strict=True)]
    if not all(0 < length < math.inf for length in extent):
        raise ValueError(
            "hard_voxelize: `point_cloud_range` must be finite with each minimum below its "
            f"maximum, got {tuple(bounds)}"
        )
    if spatial_shape is not None:
        shape = [integer("hard_voxelize", "spatial_shape", cells) for cells in spatial_shape]
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(
                "hard_voxelize: `spatial_shape` must have 3 entries of at least 1, got "
                f"{tuple(shape)}"
            )
        size = [length / cells for length, cells in zip(extent, shape, strict=True)]
        return minimum, size, (shape[0], shape[1], shape[2])
    assert voxel_size is not None
    size = [float(length) for length in voxel_size]
    if len(size) != 3 or not all(0 < length < math.inf for length in size):
        raise ValueError(
            f"hard_voxelize: `voxel_size` must have 3 positive entries, got {tuple(size)}"
        )
    x, y, z = map(_num_cells, minimum, maximum, size)
    if not all(1 <= cells <= 2**24 for cells in (x, y, z)):
        raise ValueError(
            "hard_voxelize: `voxel_size` must leave between 1 and 2^24 cells along each axis, got "
            f"{(x, y, z)} for {tuple(size)}"
        )
    return minimum, size, (x, y, z)


def _num_cells(minimum: float, maximum: float, voxel_size: float) -> int:
    """round((maximum - minimum) / voxel_size), each step in float32; a half is rounded up."""
    extent = _float32(_float32(maximum) - _float32(minimum))
    return math.floor(_float32(extent / _float32(voxel_size)) + 0.5)


def _float32(value: float) -> float:
    """The nearest float32 number."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(math.ldexp(mantissa, 24)), exponent - 24)


def _fake(
    points: Tensor,
    batch_index: Tensor | None,
    minimum: Sequence[float],
    voxel_size: Sequence[float],
    spatial_shape: Sequence[int],
    batch_size: int,
    max_points: int,
    max_voxels: int,
    padded: bool,
) -> tuple[Tensor, ...]:
    def empty(*shape: int | torch.SymInt) -> Tensor:
        return points.new_empty(shape, dtype=torch.int32)

    num_points = points.shape[0]
    rows = batch_size * max_voxels if padded else torch.library.get_ctx().new_dynamic_size()
    num_voxels = points.new_empty((), dtype=torch.int64)
    return empty(rows, 4), empty(rows), empty(num_points), empty(num_points), num_voxels


def _fake_fill(
    features: Tensor, point_rows: Tensor, point_slots: Tensor, counts: Tensor, max_points: int
) -> Tensor:
    return features.new_empty(counts.shape[0], max_points, features.shape[1])


def _fake_take(voxels: Tensor, point_rows: Tensor, point_slots: Tensor, counts: Tensor) -> Tensor:
    return voxels.new_empty(point_rows.shape[0], voxels.shape[2])


def _setup_fill(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:4])


def _backward_of_fill(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
    return torch.ops.elite_ops.take_slots(grad, *ctx.saved_tensors), None, None, None, None


def _setup_take(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:])
    ctx.max_points = inputs[0].shape[1]


def _backward_of_take(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
    grad_voxels = torch.ops.elite_ops.fill_slots(grad, *ctx.saved_tensors, ctx.max_points)
    return grad_voxels, None, None, None


register_fake("hard_voxelize", _fake)
register_fake("fill_slots", _fake_fill)
register_fake("take_slots", _fake_take)
register_autograd("fill_slots", _backward_of_fill, setup_context=_setup_fill)
register_autograd("take_slots", _backward_of_take, setup_context=_setup_take)
