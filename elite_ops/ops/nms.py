"""Non-maximum suppression of axis-aligned boxes in the image."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.registration import register_fake

__all__ = ["nms"]


def nms(
    boxes: Tensor,  # [N, 4] x1 y1 x2 y2
    scores: Tensor,  # [N]
    iou_threshold: float,
) -> Tensor:
    """The boxes that are left when each one suppresses those of lower score that overlap it.

    Boxes are visited by falling score (equal scores: lower row first). A box that is not suppressed
    is kept, and suppresses every later box whose intersection over union with it exceeds
    `iou_threshold`. Two boxes without area don't suppress each other.

    Args:
        boxes: corners in pixels, x1 <= x2 and y1 <= y2. Half types are computed in float32.
        scores: of the dtype of `boxes`.
        iou_threshold: in [0, 1].

    Returns:
        The rows of the kept boxes, int64 [num_kept], by falling score.

    Raises:
        ValueError: if a shape or `iou_threshold` is not as above, or, on the CPU, for a NaN. On
            CUDA, boxes whose score is NaN come last, and a box with a NaN corner is always kept and
            suppresses nothing.
        TypeError: if a dtype is not as above.

    *Differentiable:* no.
    *Sync:* one on CUDA, to read the number of kept boxes.
    *Deterministic:* yes.
    *Source:* torchvision.ops.nms.

    Example:
        >>> boxes = torch.tensor([[0.0, 0, 8, 8], [0, 0, 8, 9], [20, 20, 30, 30]])
        >>> nms(boxes, torch.tensor([0.8, 0.9, 0.3]), 0.7)
        tensor([1, 2])
    """
    kept: Tensor = torch.ops.elite_ops.nms(boxes, scores, iou_threshold)
    return kept


def _fake(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    num_kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(num_kept, dtype=torch.int64)


register_fake("nms", _fake)
