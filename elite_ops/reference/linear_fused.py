"""A linear map of gathered rows, with residuals and activation, in plain PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from elite_ops.reference.voxel_to_point import voxel_to_point

__all__ = ["linear_fused"]


def linear_fused(
    features: Tensor,  # [M, C_in]
    weight: Tensor,  # [C_in, C_out]
    bias: Tensor | None = None,  # [C_out]
    *,
    rows: Tensor | None = None,  # [N] int32, -1 = none
    residuals: Sequence[tuple[Tensor, Tensor | None]] = (),  # ([R, C_out], [N] int32)
    negative_slope: float = 1.0,
) -> Tensor:  # [N, C_out]
    """`leaky_relu(features[rows] @ weight + bias + sum of residual[residual_rows])`."""
    out = (features if rows is None else voxel_to_point(features, rows)) @ weight
    if bias is not None:
        out = out + bias
    for residual, residual_rows in residuals:
        out = out + (residual if residual_rows is None else voxel_to_point(residual, residual_rows))
    return F.leaky_relu(out, negative_slope)
