"""KL divergence from the teacher's classes at points to the student's on voxels."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from elite_ops.ops.segments import build_segments
from elite_ops.registration import (
    compute_in_float32_under_autocast,
    register_autograd,
    register_fake,
)

__all__ = ["distillation_loss"]


def distillation_loss(
    student_logits: Tensor,  # [V, C]
    teacher_logits: Tensor,  # [P, C]
    index: Tensor | None = None,  # [P] int32
    *,
    temperature: float = 1.0,
    weight: Tensor | None = None,  # [P]
    reduction: Literal["mean", "batchmean", "sum"] = "mean",
) -> Tensor:  # []
    """How far the student's class distribution is from the teacher's, over points that both see.

    The term of point p is weight[p] * KL(softmax(t / T) || softmax(s / T)) with its teacher logits
    t, the logits s of its student row, and the temperature T; it is not multiplied by T**2. A class
    to which the teacher gives no probability (a logit of minus infinity) contributes nothing, and
    so does a point with weight 0. Neither the gathered logits nor the probabilities are stored.

    Args:
        student_logits: one row per voxel.
        teacher_logits: one row per point, in the dtype of `student_logits`; treated as constants.
        index: each point's row of `student_logits`, -1 for none (such a point is left out, as if
            its row of `teacher_logits` were not there). By default row p belongs to point p.
        temperature: divides both logits; a positive normal number of float32.
        weight: multiplies each point's term, and does not enter the divisor; float32, or float64
            with float64 logits.
        reduction: what divides the sum of the terms of the P' points that have a row: "mean" P' * C
            (ELiTe's code), "batchmean" P', "sum" nothing. The loss of no points is 0.

    Returns:
        The loss in float32, or in float64 for float64 logits.

    Raises:
        ValueError: if a shape, `temperature` or `reduction` does not fit.
        TypeError: if a dtype is not the one above, or the logits are not floating point.
        IndexError: if `index` names no row. On CUDA the point is left out instead, and
            `check_device_errors` reports it.

    Example:
        >>> student = torch.tensor([[0.0, 0.0], [3.0, 0.0]])
        >>> teacher = torch.tensor([[5.0, 5.0], [100.0, 0.0], [7.0, 4.0]])
        >>> index = torch.tensor([0, 0, 1], dtype=torch.int32)  # only the second point disagrees
        >>> distillation_loss(student, teacher, index, reduction="sum")  # log(2)
        tensor(0.6931)

    *Differentiable:* in `student_logits`, once.
    *Sync:* none.
    *Deterministic:* yes; the loss, and each row's gradient, are sums in a fixed order.
    *Source:* ELiTe (Zhang et al., ICME 2024), patch-to-point multi-stage knowledge distillation.
    """
    loss: Tensor
    loss, _ = torch.ops.elite_ops.distillation_loss(
        student_logits, teacher_logits, index, weight, temperature, reduction
    )
    return loss


def _sum_dtype(logits: Tensor) -> torch.dtype:
    return torch.promote_types(logits.dtype, torch.float32)


def _fake(
    student_logits: Tensor,
    teacher_logits: Tensor,
    index: Tensor | None,
    weight: Tensor | None,
    temperature: float,
    reduction: str,
) -> tuple[Tensor, Tensor]:
    dtype = _sum_dtype(student_logits)
    return student_logits.new_empty((), dtype=dtype), student_logits.new_empty((), dtype=dtype)


def _fake_backward(
    grad_loss: Tensor,
    scale: Tensor,
    student_logits: Tensor,
    teacher_logits: Tensor,
    order: Tensor | None,
    offsets: Tensor | None,
    weight: Tensor | None,
    temperature: float,
) -> Tensor:
    return student_logits.new_empty(student_logits.shape)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    student_logits, teacher_logits, index, weight, temperature, _ = inputs
    _, scale = output  # of each point's term
    ctx.mark_non_differentiable(scale)
    ctx.save_for_backward(student_logits, teacher_logits, index, weight, scale)
    ctx.temperature = temperature


def _backward(ctx: Any, grad_loss: Tensor, _grad_scale: Tensor) -> tuple[Tensor | None, ...]:
    student_logits, teacher_logits, index, weight, scale = ctx.saved_tensors
    by_row = None if index is None else build_segments(index, student_logits.shape[0])
    grad_student = torch.ops.elite_ops.distillation_loss_backward(
        grad_loss,
        scale,
        student_logits,
        teacher_logits,
        by_row and by_row.order,
        by_row and by_row.offsets,
        weight,
        ctx.temperature,
    )
    return grad_student, None, None, None, None, None


register_fake("distillation_loss", _fake)
register_fake("distillation_loss_backward", _fake_backward)
register_autograd("distillation_loss", _backward, setup_context=_setup_context)
compute_in_float32_under_autocast("distillation_loss")
