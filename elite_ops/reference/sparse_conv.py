"""Sparse convolution in plain PyTorch: gather, multiply, add, one kernel offset after the other."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from elite_ops.kernel_map import KernelMap

__all__ = ["sparse_conv", "sparse_conv_fused"]


def sparse_conv(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in, C_out]
    kernel_map: KernelMap,
    bias: Tensor | None = None,  # [C_out]
) -> Tensor:  # [V_out, C_out]
    """`out[i] = bias + sum_k features[in_rows[k, i]] @ weight[k]`, where -1 adds nothing."""
    out = features.new_zeros(kernel_map.num_out, weight.shape[2])
    for k, rows in enumerate(kernel_map.in_rows):
        valid = torch.nonzero(rows >= 0)[:, 0]
        out = out.index_add(0, valid, features[rows[valid].long()] @ weight[k])
    return out if bias is None else out + bias


def sparse_conv_fused(
    features: Tensor,  # [V_in, C_in]
    weight: Tensor,  # [K, C_in, C_out]
    kernel_map: KernelMap,
    bias: Tensor,  # [C_out]
    *,
    residual: Tensor | None = None,  # [V_out, C_out]
    shortcut: tuple[Tensor, Tensor] | None = None,  # ([V_out, C], [C, C_out])
    negative_slope: float = 1.0,
) -> Tensor:  # [V_out, C_out]
    """`leaky_relu(sparse_conv + residual + shortcut[0] @ shortcut[1])`."""
    out = sparse_conv(features, weight, kernel_map, bias)
    if residual is not None:
        out = out + residual
    if shortcut is not None:
        out = out + shortcut[0] @ shortcut[1]
    return F.leaky_relu(out, negative_slope)
