"""Features of an image's patches at its pixels: resize the whole map, then index it."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate


def patch_to_point(
    patch_features: Tensor,  # [B, C, h, w]
    pixel: Tensor,  # [P, 2] int32 (row, col)
    batch_index: Tensor,  # [P] int64
    image_size: tuple[int, int],
) -> Tensor:  # [P, C]
    resized = interpolate(patch_features, image_size, mode="bilinear", align_corners=False)
    return resized[batch_index, :, pixel[:, 0].long(), pixel[:, 1].long()]
