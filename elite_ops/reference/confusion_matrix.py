"""How often each class was taken for each other one."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["confusion_matrix"]


def confusion_matrix(
    prediction: Tensor,  # [N] int64
    target: Tensor,  # [N] int64
    num_classes: int,
) -> Tensor:  # [num_classes, num_classes] int64, row = target
    cell = target * num_classes + prediction
    return torch.bincount(cell, minlength=num_classes**2).view(num_classes, num_classes)
