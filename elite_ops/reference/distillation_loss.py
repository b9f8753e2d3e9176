"""KL divergence from the teacher's classes to the student's, over the points that have a row."""

from __future__ import annotations

import torch
from torch import Tensor


def distillation_loss(
    student_logits: Tensor,  # [V, C]
    teacher_logits: Tensor,  # [P, C]
    index: Tensor | None = None,  # [P] int32, -1 for none
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,  # [P]
    reduction: str = "mean",
) -> Tensor:  # []
    dtype = torch.promote_types(student_logits.dtype, torch.float32)
    num_points, num_classes = teacher_logits.shape
    rows = torch.arange(num_points, device=teacher_logits.device) if index is None else index
    has_row = rows >= 0
    student = student_logits.to(dtype)[rows[has_row].long()]
    teacher = teacher_logits.detach().to(dtype)[has_row]

    p = torch.softmax(teacher / temperature, dim=1)
    log_p = torch.log_softmax(teacher / temperature, dim=1)
    log_q = torch.log_softmax(student / temperature, dim=1)
    divergence = torch.where(p > 0, p * (log_p - log_q), 0.0).sum(dim=1)
    if weight is not None:
        weight = weight[has_row]
        divergence = torch.where(weight == 0, 0.0, weight * divergence)

    divisor = {"mean": len(teacher) * num_classes, "batchmean": len(teacher), "sum": 1}[reduction]
    return divergence.sum() / max(divisor, 1)
