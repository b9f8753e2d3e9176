"""Points to pixels of a pinhole camera."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.image_size import height_and_width
from elite_ops.registration import register_fake

__all__ = ["project_points"]


def project_points(
    points: Tensor,  # [N, 3 + F] float32
    projection: Tensor,  # [3, 4] or [B, 3, 4] float32
    image_size: tuple[int, int],
    batch_index: Tensor | None = None,  # [N] int64
) -> tuple[Tensor, Tensor]:  # [N, 2] int32, [N] bool
    """The pixel that shows each point, and whether there is one.

    With (a, b, d) = projection @ (x, y, z, 1), a point lies at u = a / d, v = b / d. It is valid
    when it is before the sensor and before the camera, x > 0 and d > 0, and strictly inside the
    image, 0 < u < width and 0 < v < height; its pixel is then (trunc(v), trunc(u)). Every product,
    sum and quotient is rounded to float32 in the order ((m0 x + m1 y) + m2 z) + m3, so that all
    devices agree to the bit.

    Args:
        points: x, y, z in metres in the sensor frame, x forward; further columns are not read.
        projection: sensor frame to homogeneous pixels; one matrix, or one for each scan of a batch.
        image_size: height and width in pixels, each at most 2^24.
        batch_index: each point's scan; given exactly when `projection` is [B, 3, 4].

    Returns:
        pixel: (row, col) of each point, (-1, -1) where it is not valid.
        valid: whether the point has a pixel.

    Raises:
        ValueError: if a shape does not fit, or `image_size` is not positive.
        TypeError: if a dtype is not the one above.
        IndexError: if `batch_index` names no matrix. On CUDA the point is invalid instead, and
            `check_device_errors` reports it.

    Example:
        >>> camera = torch.tensor([[4.0, -8, 0, 0], [4.0, 0, -8, 0], [1.0, 0, 0, 0]])
        >>> project_points(torch.tensor([[2.0, 0.5, -0.3]]), camera, (8, 8))
        (tensor([[5, 2]], dtype=torch.int32), tensor([True]))

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes, and equal on all devices.
    *Source:* ELiTe (Zhang et al., ICME 2024), point-pixel correspondence.
    """
    height, width = height_and_width("project_points", image_size)
    pixel, valid = torch.ops.elite_ops.project_points(
        points, projection, batch_index, height, width
    )
    return pixel, valid


def _fake(
    points: Tensor, projection: Tensor, batch_index: Tensor | None, height: int, width: int
) -> tuple[Tensor, Tensor]:
    num_points = points.shape[0]
    pixel = points.new_empty((num_points, 2), dtype=torch.int32)
    return pixel, points.new_empty(num_points, dtype=torch.bool)


register_fake("project_points", _fake)
