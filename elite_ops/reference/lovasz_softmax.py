"""Lovász-softmax: the loss of each class from one sort of its errors."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["lovasz_softmax"]


def lovasz_softmax(
    logits: Tensor,  # [N, C]
    labels: Tensor,  # [N] int64
    *,
    ignore_label: int | None = 0,
    classes: str = "present",
) -> Tensor:
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    if ignore_label is not None:
        kept = labels != ignore_label
        logits, labels = logits[kept], labels[kept]
    if labels.numel() == 0:
        return logits.sum()  # of no rows: 0, with a gradient of 0

    losses = []
    for label, probability in enumerate(logits.softmax(1).unbind(1)):
        foreground = labels == label
        if classes == "all" or foreground.any():
            errors = torch.where(foreground, 1 - probability, probability)
            errors, order = errors.sort(descending=True, stable=True)
            losses.append(errors @ _jaccard_gradient(foreground[order]).to(errors.dtype))
    return torch.stack(losses).mean()


def _jaccard_gradient(foreground: Tensor) -> Tensor:
    """By how much the Jaccard loss grows with each further mispredicted point."""
    missed = foreground.double().cumsum(0)
    invented = (~foreground).double().cumsum(0)
    total = missed[-1]
    loss = 1 - (total - missed) / (total + invented)
    return loss.diff(prepend=loss.new_zeros(1))
