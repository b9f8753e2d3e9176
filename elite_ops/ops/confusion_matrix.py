"""How often each class was taken for each other one."""

from __future__ import annotations

import torch
from torch import Tensor

from elite_ops.arguments import integer
from elite_ops.registration import register_fake

__all__ = ["confusion_matrix"]


def confusion_matrix(
    prediction: Tensor,  # [N] int64
    target: Tensor,  # [N] int64
    num_classes: int,
) -> Tensor:  # [num_classes, num_classes] int64
    """Counts the points of each pair of true and predicted class.

    Args:
        prediction: predicted class of each point, in [0, num_classes).
        target: true class of each point, in [0, num_classes).
        num_classes: how many classes there are, at most 2^14.

    Returns:
        The counts: row = true class, column = predicted class.

    Raises:
        TypeError: if a label is not int64.
        ValueError: if shapes or devices don't fit, or `num_classes` is not in [1, 2^14].
        IndexError: if a label is outside [0, num_classes). On CUDA such points are left out, and
            `elite_ops.check_device_errors` raises.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* histogram.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), num_classes=2)
        tensor([[1, 1],
                [0, 1]])
    """
    num_classes = integer("confusion_matrix", "num_classes", num_classes)
    out: Tensor = torch.ops.elite_ops.confusion_matrix(prediction, target, num_classes)
    return out


def _fake(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    return prediction.new_empty(num_classes, num_classes)


register_fake("confusion_matrix", _fake)
