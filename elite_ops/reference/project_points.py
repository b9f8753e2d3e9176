"""Points to pixels of a pinhole camera, in the order of roundings that every device keeps."""

from __future__ import annotations

import torch
from torch import Tensor


def project_points(
    points: Tensor,  # [N, 3 + F]
    projection: Tensor,  # [3, 4] or [B, 3, 4]
    image_size: tuple[int, int],
    batch_index: Tensor | None = None,  # [N]
) -> tuple[Tensor, Tensor]:
    height, width = image_size
    matrix = projection[None] if batch_index is None else projection[batch_index]  # [1 or N, 3, 4]
    x, y, z = points[:, :3].unbind(1)
    u, v, depth = (
        ((row[:, 0] * x + row[:, 1] * y) + row[:, 2] * z) + row[:, 3] for row in matrix.unbind(1)
    )
    u, v = u / depth, v / depth
    valid = (x > 0) & (depth > 0) & (u > 0) & (u < width) & (v > 0) & (v < height)
    pixel = torch.where(valid[:, None], torch.stack([v, u], dim=1), -1.0)
    return pixel.int(), valid
