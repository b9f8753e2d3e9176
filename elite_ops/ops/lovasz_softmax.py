"""Lovász-softmax loss: a differentiable stand-in for the mean intersection over union."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from elite_ops.registration import (
    compute_in_float32_under_autocast,
    register_autograd,
    register_fake,
)

__all__ = ["lovasz_softmax"]


def lovasz_softmax(
    logits: Tensor,  # [N, C]
    labels: Tensor,  # [N] int64
    *,
    ignore_label: int | None = 0,
    classes: Literal["present", "all"] = "present",
) -> Tensor:
    """Lovász-softmax loss of `logits`, the softmax included: a scalar.

    For each class, the errors of all points, 1 - p where the point has the class and p elsewhere,
    are sorted from the largest to the smallest (equal errors: lower row first). The loss of the
    class is the sum of each error times the growth of the Jaccard loss, 1 - intersection / union,
    when that point joins the mispredicted ones. The result is the mean over the classes.

    Args:
        logits: scores before the softmax. Half types are computed, and the loss returned, in
            float32.
        labels: a class in [0, C), or `ignore_label`.
        ignore_label: rows with this label are left out; None leaves out none. It may lie outside
            [0, C).
        classes: "present" takes the mean over the classes that some row has, "all" over all C
            classes. The loss of a class without a row is its largest probability.

    Returns:
        The loss; 0, with a gradient of 0, when no row is labelled.

    Raises:
        ValueError: if a shape or `classes` is not as above, or, on CUDA, for 2^31 logits or more.
        TypeError: if a dtype is not as above.
        IndexError: if a label is neither in [0, C) nor `ignore_label`. On CUDA such rows are left
            out, and `elite_ops.check_device_errors` raises.

    *Differentiable:* in `logits`, once.
    *Sync:* none.
    *Deterministic:* yes.
    *Source:* Berman, Rannen Triki, Blaschko, "The Lovász-Softmax loss", CVPR 2018.

    Example:
        >>> logits = torch.tensor([[0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
        >>> lovasz_softmax(logits, torch.tensor([1, 2]))
        tensor(0.2130)
    """
    loss: Tensor = torch.ops.elite_ops.lovasz_softmax(logits, labels, ignore_label, classes)[0]
    return loss


def _arithmetic_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float32 if dtype in (torch.float16, torch.bfloat16) else dtype


def _fake(
    logits: Tensor, labels: Tensor, ignore_label: int | None, classes: str
) -> tuple[Tensor, Tensor]:
    dtype = _arithmetic_dtype(logits.dtype)
    num_points, num_classes = logits.shape
    return (
        logits.new_empty((), dtype=dtype),
        logits.new_empty((num_classes, num_points), dtype=dtype),
    )


def _fake_backward(grad_out: Tensor, logits: Tensor, grad_probabilities: Tensor) -> Tensor:
    return logits.new_empty(logits.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    logits = inputs[0]
    _, grad_probabilities = output
    ctx.save_for_backward(logits, grad_probabilities)
    ctx.mark_non_differentiable(grad_probabilities)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor, None, None, None]:
    logits, grad_probabilities = ctx.saved_tensors
    grad_logits = torch.ops.elite_ops.lovasz_softmax_backward(grad_out, logits, grad_probabilities)
    return grad_logits, None, None, None


register_fake("lovasz_softmax", _fake)
register_fake("lovasz_softmax_backward", _fake_backward)
register_autograd("lovasz_softmax", _backward, setup_context=_setup_context)
compute_in_float32_under_autocast("lovasz_softmax")
