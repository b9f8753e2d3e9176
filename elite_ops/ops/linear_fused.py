"""A linear map of gathered rows, with residuals and activation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from elite_ops.registration import register_fake

__all__ = ["linear_fused"]


def linear_fused(
    features: Tensor,  # [M, C_in]
    weight: Tensor,  # [C_in, C_out]
    bias: Tensor | None = None,  # [C_out]
    *,
    rows: Tensor | None = None,  # [N] int32, -1 = none
    residuals: Sequence[tuple[Tensor, Tensor | None]] = (),  # ([R, C_out], [N] int32)
    negative_slope: float = 1.0,
    num_rows: Tensor | None = None,  # [] int64
) -> Tensor:  # [N, C_out]
    """`leaky_relu(features[rows] @ weight + bias + sum of residual[residual_rows])` in one pass.

    For inference. Nothing that is gathered is written in between.

    Args:
        features: rows to multiply; float32, float64, float16 or bfloat16.
        weight: transposed against that of `torch.nn.Linear`, as in `sparse_conv`.
        bias: added to every row.
        rows: which row of `features` each row of the result takes, -1 a row of zeros; None: N = M,
            row i takes row i.
        residuals: at most four matrices that are added before the activation, each with the rows
            that it is read at (-1 adds nothing), or None.
        negative_slope: factor of negative sums; 1 means no activation, 0 ReLU.
        num_rows: how many rows of the result are wanted, on the device of `features`; those from
            there on are left undefined. None: all.

    Returns:
        One row per entry of `rows`, of the dtype of `features`.

    Raises:
        RuntimeError: if a gradient would be needed.
        ValueError: if shapes or devices don't fit together.
        TypeError: if dtypes differ or are not floating, or `rows` is not int32.
        IndexError: if `rows` names a row that does not exist (on CUDA: see `check_device_errors`).

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes, bit for bit, whatever the number of threads; a row depends on its own
    inputs alone, not on how many others there are.
    *Source:* matrix product with a fused epilogue; on CUDA `sparse_conv` with one offset.
    """
    matrices = [residual for residual, _ in residuals]
    tensors = [features, weight, *([] if bias is None else [bias]), *matrices]
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        raise RuntimeError(
            "linear_fused: has no gradient; call it under torch.no_grad() or use "
            "torch.nn.functional.linear"
        )
    out: Tensor = torch.ops.elite_ops.linear_fused(
        features,
        rows,
        weight,
        bias,
        matrices,
        [rows for _, rows in residuals],
        negative_slope,
        num_rows=num_rows,
    )
    return out


def _fake(
    features: Tensor,
    rows: Tensor | None,
    weight: Tensor,
    bias: Tensor | None,
    residuals: list[Tensor],
    residual_rows: list[Tensor | None],
    negative_slope: float,
    num_rows: Tensor | None = None,
) -> Tensor:
    return features.new_empty((features if rows is None else rows).shape[0], weight.shape[1])


register_fake("linear_fused", _fake)
