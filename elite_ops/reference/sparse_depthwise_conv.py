"""Depthwise sparse convolution in plain PyTorch: gather, multiply, add, offset by offset."""

from __future__ import annotations

from torch import Tensor

from elite_ops.kernel_map import KernelMap

__all__ = ["sparse_depthwise_conv"]


def sparse_depthwise_conv(
    features: Tensor,  # [V_in, C]
    weight: Tensor,  # [K, C]
    kernel_map: KernelMap,
    bias: Tensor | None = None,  # [C]
) -> Tensor:  # [V_out, C]
    """`out[i] = bias + sum_k features[in_rows[k, i]] * weight[k]`, where -1 adds nothing."""
    out = features.new_zeros(kernel_map.in_rows.shape[1], features.shape[1])
    for rows, factors in zip(kernel_map.in_rows.long(), weight, strict=True):
        (met,) = (rows >= 0).nonzero(as_tuple=True)
        out = out.index_add(0, met, features[rows[met]] * factors)
    return out if bias is None else out + bias
