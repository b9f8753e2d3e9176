"""The supervised loss of a segmentation head; every head of the system uses it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

import elite_ops

__all__ = ["SegmentationLoss", "SegmentationTerms"]

IGNORE_LABEL = 0


@dataclass
class SegmentationTerms:
    """The two terms, and their weighted sum."""

    total: torch.Tensor  # []
    cross_entropy: torch.Tensor  # []
    lovasz: torch.Tensor  # []


class SegmentationLoss(torch.nn.Module):
    """Weighted cross-entropy plus Lovász-softmax; label 0 is ignored.

    Where nothing is labelled, the loss is 0 and so is its gradient (torch's own mean is 0 / 0).
    """

    class_weights: torch.Tensor

    def __init__(self, class_weights: torch.Tensor, lovasz_weight: float = 0.1) -> None:
        super().__init__()
        class_weights = class_weights.clone()
        class_weights[IGNORE_LABEL] = 0  # else ignored points would count in the mean's divisor
        self.register_buffer("class_weights", class_weights, persistent=False)
        self.lovasz_weight = lovasz_weight

    def forward(
        self,
        logits: torch.Tensor,  # [N, C]
        labels: torch.Tensor,  # [N] int64
    ) -> SegmentationTerms:
        logits = logits.float()
        summed = F.cross_entropy(
            logits, labels, self.class_weights, ignore_index=IGNORE_LABEL, reduction="sum"
        )
        smallest = torch.finfo(summed.dtype).tiny
        cross_entropy = summed / self.class_weights[labels].sum().clamp_min(smallest)
        lovasz = elite_ops.lovasz_softmax(logits, labels, ignore_label=IGNORE_LABEL)
        total = cross_entropy + self.lovasz_weight * lovasz
        return SegmentationTerms(total, cross_entropy, lovasz)
