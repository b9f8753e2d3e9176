"""The class with the largest logit, in plain PyTorch."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["most_likely"]


def most_likely(
    logits: Tensor,  # [N, C]
    valid: Tensor | None = None,  # [N] bool, or int32, -1 = none
    *,
    ignore_label: int | None = None,
) -> Tensor:  # [N] int64
    classes = torch.arange(logits.shape[1], device=logits.device)
    classes = classes if ignore_label is None else classes[classes != ignore_label]
    candidates = logits[:, classes]
    # Not argmax, which may return any of several maxima.
    is_largest = (candidates == candidates.amax(1, keepdim=True)) | candidates.isnan()
    labels = torch.where(is_largest, classes, logits.shape[1]).amin(1)
    if valid is None:
        return labels
    return labels * (valid if valid.dtype == torch.bool else valid >= 0)
