"""The occupied cells of a grid, at several scales at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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

    Returns:
        The voxels of each scale, in order of (batch, x, y, z).

    Raises:
        IndexError: if an entry of `batch_index` is outside [0, batch_size).
        ValueError: if a shape, the range or a scale makes no sense, or if the cells of all samples
            are too many for a 63-bit key.
        TypeError: if a dtype is not the one above.

    Example:
        >>> points = torch.tensor([[0.5, 0.5, 0.5], [3.5, 0.5, 0.5], [0.6, 0.5, 0.5]])
        >>> box = (0.0, 0.0, 0.0, 4.0, 4.0, 4.0)
        >>> (voxels,) = voxelize(points, point_cloud_range=box, spatial_shape=(4, 4, 4))
        >>> voxels.indices.tolist(), voxels.inverse.tolist()
        ([[0, 0, 0, 0], [0, 3, 0, 0]], [0, 1, 0])

    *Differentiable*: no.
    *Sync*: CUDA: one, for the sizes; another for `batch_size` if it has to be read.
    *Deterministic*: yes.
    *Source*: the voxel index of 2DPASS (Yan et al., ECCV 2022), which ELiTe keeps.
    """
    if batch_size is None:
        has_points = batch_index is not None and batch_index.numel() > 0
        batch_size = int(batch_index.max()) + 1 if has_points else 1  # type: ignore[union-attr]
    indices, inverse, counts, num_voxels = torch.ops.elite_ops.voxelize(
        points, batch_index, point_cloud_range, spatial_shape, scales, batch_size, nested
    )
    rows = zip(indices, inverse, counts, num_voxels.unbind(), strict=True)
    return [
        Voxels(i, v, c, n, scale, _shape(spatial_shape, scale))
        for scale, (i, v, c, n) in zip(scales, rows, strict=True)
    ]


def _shape(spatial_shape: Sequence[int], scale: int) -> tuple[int, int, int]:
    x, y, z = (-(-size // scale) for size in spatial_shape)
    return x, y, z


def _fake(
    points: Tensor,
    batch_index: Tensor | None,
    point_cloud_range: Sequence[float],
    spatial_shape: Sequence[int],
    scales: Sequence[int],
    batch_size: int,
    nested: bool,
) -> tuple[list[Tensor], list[Tensor], list[Tensor], Tensor]:
    def empty(*shape: int | torch.SymInt) -> Tensor:
        return points.new_empty(shape, dtype=torch.int32)

    sizes = [torch.library.get_ctx().new_dynamic_size() for _ in scales]
    return (
        [empty(size, 4) for size in sizes],
        [empty(points.shape[0]) for _ in sizes],
        [empty(size) for size in sizes],
        points.new_empty(len(sizes), dtype=torch.int64),
    )


torch.library.register_fake("elite_ops::voxelize", _fake)
