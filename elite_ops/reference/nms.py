"""Greedy non-maximum suppression from the full matrix of overlaps."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["nms"]


def nms(
    boxes: Tensor,  # [N, 4] x1 y1 x2 y2
    scores: Tensor,  # [N]
    iou_threshold: float,
) -> Tensor:
    order = scores.sort(descending=True, stable=True).indices
    suppresses = _iou(boxes[order]).double() > iou_threshold
    suppressed = torch.zeros_like(order, dtype=torch.bool)
    for i in range(len(order)):
        if not suppressed[i]:
            suppressed[i + 1 :] |= suppresses[i, i + 1 :]
    return order[~suppressed]


def _iou(boxes: Tensor) -> Tensor:
    """Intersection over union of every two boxes; 0 / 0 is NaN, which exceeds no threshold."""
    if boxes.dtype in (torch.float16, torch.bfloat16):
        boxes = boxes.float()
    low, high = boxes[:, :2], boxes[:, 2:]
    area = (high - low).prod(1)
    sides = torch.minimum(high[:, None], high) - torch.maximum(low[:, None], low)
    intersection = sides.clamp(min=0).prod(2)
    return intersection / (area[:, None] + area - intersection)
