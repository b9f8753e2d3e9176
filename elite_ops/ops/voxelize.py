"""The occupied cells of a grid, at several scales at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.kernel_geometry import KernelGeometry
from elite_ops.kernel_map import KernelMap
from elite_ops.registration import register_fake
from elite_ops.voxels import Voxels

__all__ = ["Voxels", "voxelize"]


def voxelize(
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features that are not read
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    spatial_shape: Sequence[int],
    scales: Sequence[int] = (1,),
    batch_size: int | None = None,
    nested: bool = False,
    kernel_size: int | Sequence[int] | None = None,
    capacity: int | Sequence[int] | None = None,
    halved: Sequence[int] = (),
) -> list[Voxels]:
    """Finds the voxels that hold points, and the voxel of each point, at each scale.

    Along each axis a point strictly inside the range lies in cell

        trunc(ceil(size / scale) * (p - minimum) / (maximum - minimum))

    in float32 and in this order of operations; where rounding reaches the end, in the last cell.
    Every scale starts from the points. As the number of cells is rounded up, the cells of a coarse
    scale are in general not unions of those of a fine one, unless `nested` asks for it.

    Grids of up to 2^24 columns (of 64 cells along z) are served by an occupancy bitmap, unless the
    points are very few; larger ones by sorting.

    Args:
        points: the points of all samples.
        batch_index: the sample of each point; without it there is one sample.
        point_cloud_range: x_min, y_min, z_min, x_max, y_max, z_max, in metres.
        spatial_shape: the number of cells along x, y, z at scale 1.
        scales: how much coarser each grid is: it has ceil(size / scale) cells along an axis. At
            most 16.
        batch_size: the number of samples; read from `batch_index` if not given.
        nested: whether the cell at a scale is the cell at scale 1, divided by the scale.
        kernel_size: of submanifold convolutions (1, 3, 5 or 7; one number, or one per axis), whose
            kernel maps come with the voxels: those of `build_kernel_map`, but on CUDA from the
            index that is there already, in one launch for all scales.
        capacity: the rows of each scale's buffers, one number or one per scale: nothing then waits
            for the device to count the voxels. There are never more voxels than points. None: as
            many rows as voxels.
        halved: scales whose voxels are grouped by 2 x 2 x 2 cells as well, as `Voxels.halved`.

    Returns:
        The voxels of each scale, in order of (batch, x, y, z), with their kernel map and `halved`
        if asked for.

    Raises:
        IndexError: if an entry of `batch_index` is outside [0, batch_size).
        ValueError: if a shape, the range or a scale makes no sense, if the cells of all samples
            are too many for a 63-bit key, or if a scale has more voxels than its capacity. On CUDA
            the voxels beyond the capacity, and their points, are left out, and
            `check_device_errors` reports it.
        TypeError: if a dtype is not the one above.

    Example:
        >>> points = torch.tensor([[0.5, 0.5, 0.5], [3.5, 0.5, 0.5], [0.6, 0.5, 0.5]])
        >>> box = (0.0, 0.0, 0.0, 4.0, 4.0, 4.0)
        >>> (voxels,) = voxelize(points, point_cloud_range=box, spatial_shape=(4, 4, 4))
        >>> voxels.indices.tolist(), voxels.point_rows.tolist()
        ([[0, 0, 0, 0], [0, 3, 0, 0]], [0, 1, 0])

    *Differentiable*: no.
    *Sync*: CUDA: one for the sizes, none with `capacity`; another for `batch_size` if it has to be
    read.
    *Deterministic*: yes.
    *Source*: the voxel index of 2DPASS (Yan et al., ECCV 2022), which ELiTe keeps.
    """
    if batch_size is None:
        has_points = batch_index is not None and batch_index.numel() > 0
        batch_size = int(batch_index.max()) + 1 if has_points else 1  # type: ignore[union-attr]
    kernel = None
    if kernel_size is not None:
        kernel = KernelGeometry.of_submanifold(kernel_size, op="voxelize")
    rows, tables = _found(
        points,
        batch_index,
        (point_cloud_range, spatial_shape),
        scales,
        batch_size,
        nested,
        None if kernel is None else kernel.kernel_size,
        _per_scale(capacity, len(scales)),
        halved,
    )
    padded = capacity is not None

    shapes = [_divided(spatial_shape, scale) for scale in scales]
    shapes += [_divided(shapes[scales.index(scale)], 2) for scale in halved]

    def voxels_of(g: int, scale: int, halved: Voxels | None = None) -> Voxels:
        return Voxels(*rows[g], shapes[g], batch_size, scale=scale, padded=padded, halved=halved)

    coarser = {s: voxels_of(len(scales) + i, 2 * s) for i, s in enumerate(halved)}
    found = [voxels_of(g, scale, coarser.get(scale)) for g, scale in enumerate(scales)]
    if kernel is not None:
        for voxels, table in zip(found, tables, strict=True):
            voxels.store(kernel, _symmetric_map(table, voxels, kernel))
    return found


def _found(
    points: Tensor,
    batch_index: Tensor | None,
    grid: tuple[Sequence[float], Sequence[int]],  # its range and shape
    scales: Sequence[int],
    batch_size: int,
    nested: bool,
    kernel_size: Sequence[int] | None,
    capacity: Sequence[int],
    halved: Sequence[int],
) -> tuple[list[tuple[Tensor, Tensor, Tensor, Tensor]], list[Tensor]]:
    """The rows of each grid, and the table of each scale."""
    ops = torch.ops.elite_ops
    if len(scales) == 1 and len(capacity) < 2 and not halved:
        *rows, in_rows = ops.voxelize_scale(
            points, batch_index, *grid, scales[0], batch_size, nested, kernel_size, *capacity
        )
        return [tuple(rows)], [in_rows]
    arguments = (scales, batch_size, nested, kernel_size or (), capacity, halved)
    *per_grid, num_voxels, tables = ops.voxelize(points, batch_index, *grid, *arguments)
    return list(zip(*per_grid, num_voxels.unbind(), strict=True)), tables


def _symmetric_map(in_rows: Tensor, voxels: Voxels, geometry: KernelGeometry) -> KernelMap:
    return KernelMap(in_rows, in_rows.shape[1], geometry, symmetric=True, num_rows=voxels.num_rows)


def _per_scale(capacity: int | Sequence[int] | None, num_scales: int) -> Sequence[int]:
    if capacity is None:
        return ()
    return capacity if isinstance(capacity, Sequence) else [capacity] * num_scales


def _divided(shape: Sequence[int], scale: int) -> tuple[int, int, int]:
    x, y, z = (-(-size // scale) for size in shape)
    return x, y, z


def _fake(
    points: Tensor,
    batch_index: Tensor | None,
    point_cloud_range: Sequence[float],
    spatial_shape: Sequence[int],
    scales: Sequence[int],
    batch_size: int,
    nested: bool,
    kernel_size: Sequence[int],
    capacity: Sequence[int] = (),
    halved: Sequence[int] = (),
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor, list[Tensor]]:
    def empty(*shape: int | torch.SymInt) -> Tensor:
        return points.new_empty(shape, dtype=torch.int32)

    of = [*range(len(scales)), *map(scales.index, halved)]  # the scale of each grid
    if capacity:
        sizes = [capacity[s] for s in of]
    else:
        sizes = [torch.library.get_ctx().new_dynamic_size() for _ in of]
    num_scales = len(scales)
    rows_of_halved = [empty(sizes[s]) for s in of[num_scales:]]
    return (
        [empty(size, 4) for size in sizes],
        [*(empty(points.shape[0]) for _ in scales), *rows_of_halved],
        [empty(size) for size in sizes],
        points.new_empty(len(sizes), dtype=torch.int64),
        [empty(math.prod(kernel_size), n) for n in sizes[:num_scales]] if kernel_size else [],
    )


def _fake_scale(
    points: Tensor,
    batch_index: Tensor | None,
    point_cloud_range: Sequence[float],
    spatial_shape: Sequence[int],
    scale: int,
    batch_size: int,
    nested: bool,
    kernel_size: Sequence[int] | None = None,
    capacity: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    size = capacity if capacity is not None else torch.library.get_ctx().new_dynamic_size()

    def empty(*shape: int | torch.SymInt) -> Tensor:
        return points.new_empty(shape, dtype=torch.int32)

    return (
        empty(size, 4),
        empty(points.shape[0]),
        empty(size),
        points.new_empty((), dtype=torch.int64),
        empty(math.prod(kernel_size) if kernel_size else 0, size),
    )


register_fake("voxelize", _fake)
register_fake("voxelize_scale", _fake_scale)
