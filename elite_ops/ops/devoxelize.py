"""Features of voxels read at points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from elite_ops.gradients import may_need_gradient
from elite_ops.ops.segments import Segments, build_segments
from elite_ops.ops.transition import CsrMatrix, multiplied
from elite_ops.ops.voxel_to_point import voxel_to_point
from elite_ops.registration import register_fake
from elite_ops.voxel_set import VoxelSet

__all__ = ["devoxelize", "weighted_rows"]

CORNERS = 8
MODES = ("trilinear", "nearest")


def devoxelize(
    features: Tensor,  # [V, C]
    voxels: VoxelSet,
    points: Tensor,  # [N, 3 + F] float32: x, y, z (m), and features that are not read
    batch_index: Tensor | None = None,  # [N] int64
    *,
    point_cloud_range: Sequence[float],
    mode: Literal["trilinear", "nearest"] = "trilinear",
) -> Tensor:  # [N, C]
    """Reads features of voxels at points, which need not be those that made the voxels.

    With `mode="trilinear"`, a point gets the mean of the voxels among the eight whose centres
    surround it. The weight of each is the product, over the axes, of 1 minus the distance to its
    centre in cells; empty cells have none, and the weights are divided by their sum. On a grid
    without empty cells it is `torch.nn.functional.grid_sample` with `align_corners=False` and
    `padding_mode="border"`. With `mode="nearest"`, a point gets the row of the voxel it lies in.

    A point gets 0 where there is no such voxel, or where it is not strictly inside the range. The
    cells are those of `voxelize` without `nested`, for a grid of `voxels.spatial_shape`.

    Args:
        features: one row per voxel; float32, float64, float16 or bfloat16. Half types are
            accumulated in float32; the weights are float32 in any case.
        voxels: where they are, in a grid of three axes.
        points: where features are wanted.
        batch_index: the sample of each point; without it all are in sample 0.
        point_cloud_range: x, y, z of the lowest and of the highest corner of the grid (m).
        mode: "trilinear" or "nearest".

    Returns:
        One row per point, in the dtype of `features`.

    Raises:
        ValueError: if shapes or devices don't fit, two voxels are equal, the voxels are a padded
            buffer, or `mode` or a number makes no sense.
        TypeError: if a dtype is another one.
        IndexError: if a voxel is outside the grid, or an entry of `batch_index` outside
            [0, batch_size). On CUDA such a point gets 0, and these errors and equal voxels are
            reported by `check_device_errors`.

    Example:
        >>> cells = torch.tensor([[0, 0, 0, 0], [0, 0, 0, 1]], dtype=torch.int32)
        >>> voxels = VoxelSet(cells, (1, 1, 2), 1)
        >>> points = torch.tensor([[0.5, 0.5, 0.75], [0.5, 0.5, 0.25]])
        >>> features = torch.tensor([[0.0], [8.0]])
        >>> devoxelize(features, voxels, points, point_cloud_range=(0, 0, 0, 1, 1, 2)).tolist()
        [[2.0], [0.0]]

    *Differentiable:* in `features`, any number of times.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; gradients too.
    *Source:* Tang et al., SPVNAS, ECCV 2020 (spdevoxelize in torchsparse, which measures distances
    from the lowest corners of cells instead of their centres, and adds 1e-8 to the sum).
    """
    _check(features, voxels, mode)
    rows, weights = torch.ops.elite_ops.devoxelize(
        voxels.indices,
        voxels.spatial_shape,
        voxels.batch_size,
        points,
        batch_index,
        [float(bound) for bound in point_cloud_range],
        mode == "nearest",
    )
    if mode == "nearest":
        return voxel_to_point(features, build_segments(rows.flatten(), len(voxels)))
    return weighted_rows(features, rows, weights)


def weighted_rows(
    features: Tensor,  # [V, C]
    rows: Tensor,  # [N, K] int32, -1 for none, which are not checked
    weights: Tensor,  # [N, K] float32
    segments: Segments | None = None,  # of the flat rows; None: made where a gradient needs them
) -> Tensor:  # [N, C]
    """The weighted sum of K rows for each point."""
    if segments is None and may_need_gradient(features):
        segments = build_segments(rows.flatten(), len(features))
    transposed = None if segments is None else _by_row(segments, weights)
    return multiplied(_by_point(rows, weights), features, transposed)


def _by_point(rows: Tensor, weights: Tensor) -> CsrMatrix:
    """The weighted sum as a matrix with a row per point."""
    every = torch.arange(0, rows.numel() + 1, rows.shape[1], dtype=torch.int32, device=rows.device)
    return CsrMatrix(every, rows.flatten(), weights.flatten())


def _by_row(segments: Segments, weights: Tensor) -> CsrMatrix:
    """Its transpose."""
    sorted_weights = weights.flatten().index_select(0, segments.order)
    return CsrMatrix(segments.offsets, segments.order // weights.shape[1], sorted_weights)


def _check(features: Tensor, voxels: VoxelSet, mode: str) -> None:
    if mode not in MODES:
        raise ValueError(f"devoxelize: `mode` must be one of {MODES}, got {mode!r}")
    if voxels.num_axes != 3:
        raise ValueError(f"devoxelize: `voxels` must have 3 axes, got {voxels.num_axes}")
    if voxels.num_rows is not None:
        raise ValueError("devoxelize: `voxels` must have valid rows alone, got a padded buffer")
    if not features.is_floating_point():
        raise TypeError(f"devoxelize: `features` must be floating, got {features.dtype}")
    if features.dim() != 2 or features.shape[0] != len(voxels):
        raise ValueError(
            f"devoxelize: `features` must be [{len(voxels)}, C], a row per voxel, got shape "
            f"{tuple(features.shape)}"
        )
    if features.device != voxels.device:
        raise ValueError(
            f"devoxelize: `features` must be on the device of `voxels` ({voxels.device}), got "
            f"{features.device}"
        )


def _fake(
    indices: Tensor,
    spatial_shape: Sequence[int],
    batch_size: int,
    points: Tensor,
    batch_index: Tensor | None,
    point_cloud_range: Sequence[float],
    nearest: bool,
) -> tuple[Tensor, Tensor]:
    shape = points.shape[0], 1 if nearest else CORNERS
    return indices.new_empty(shape), points.new_empty(shape)


register_fake("devoxelize", _fake)
