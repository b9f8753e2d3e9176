"""Features carried from the voxels of one scale to those of another, through the points.

"Gather to the points, then average per coarse voxel" is linear in the features, and its weights
depend on the points alone. So it is one sparse matrix, built once a scan and applied to features of
any width without a row per point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elite_ops.ops.segments import Segments
from elite_ops.registration import register_autograd, register_fake

__all__ = ["CsrMatrix", "PointTransition", "Transition", "build_transition", "transition"]


@dataclass(frozen=True, eq=False)
class CsrMatrix:
    """A sparse matrix by rows: row v has the entries [offsets[v], offsets[v + 1]).

    The buffers have a fixed size, the number of points, so that nobody waits for the device to
    count; places after the last entry hold column -1 and weight 0. An entry of column -1 counts for
    none. Made by `build_transition`: `transition` checks the shapes, and trusts the numbers.
    """

    offsets: Tensor  # [rows + 1] int32
    columns: Tensor  # [N] int32, rising within a row
    weights: Tensor  # [N] float32


@dataclass(frozen=True, eq=False)
class Transition:
    """The operator from fine to coarse voxels, and its transpose for the gradient."""

    matrix: CsrMatrix  # V_coarse rows
    transposed: CsrMatrix  # V_fine rows
    num_rows: Tensor | None = None  # [] int64, on the device: valid coarse voxels; None: all

    @property
    def num_fine(self) -> int:
        return self.transposed.offsets.shape[0] - 1

    @property
    def num_coarse(self) -> int:
        return self.matrix.offsets.shape[0] - 1


@dataclass(frozen=True, eq=False)
class PointTransition:
    """The same operator without a matrix, for inference.

    There is nothing to build, and `transition` reads a row per point instead of one per pair of
    voxels: on CUDA faster than building the matrix for the few times that inference applies it.
    """

    fine: Segments
    coarse: Segments


def build_transition(
    fine: Segments,  # of N points in V_fine voxels
    coarse: Segments,  # of the same N points in V_coarse voxels
) -> Transition:
    """Builds the operator that averages fine voxels, weighted by points, into coarse ones.

    A coarse voxel has one entry per fine voxel that shares points with it; the weight is the number
    of shared points over the number of points of the coarse voxel. Points without a voxel in either
    scale are left out of both numbers. The scales need not be nested.

    Args:
        fine: the points of each voxel that features come from.
        coarse: the points of each voxel that features go to.

    Returns:
        The operator, for `transition`.

    Raises:
        ValueError: if the two don't have the same number of points, or are on different devices.

    *Differentiable:* no.
    *Sync:* none.
    *Deterministic:* yes, bit by bit.
    *Source:* Zhang et al., ELiTe, ICME 2024, as one sparse matrix.
    """
    tensors = torch.ops.elite_ops.build_transition(
        fine.inverse, fine.order, fine.offsets, coarse.inverse, coarse.order, coarse.offsets
    )
    return Transition(CsrMatrix(*tensors[:3]), CsrMatrix(*tensors[3:]), coarse.num_rows)


def transition(
    features: Tensor,  # [V_fine, C]
    operator: Transition | PointTransition,
) -> Tensor:  # [V_coarse, C]
    """Averages the rows of fine voxels, weighted by points, into coarse voxels.

    Equals `segment_mean(voxel_to_point(features, fine), coarse)` up to rounding; a coarse voxel
    without points gives 0.

    Args:
        features: one row per fine voxel; float32, float64, float16 or bfloat16. Half types are
            accumulated in float32; the weights are float32 in any case.
        operator: from `build_transition`, or the segments of a `PointTransition`.

    Returns:
        One row per coarse voxel, in the dtype of `features`.

    Raises:
        TypeError: if `features` is not of a floating dtype.
        ValueError: if shapes or devices don't fit.
        RuntimeError: if a gradient through a `PointTransition` would be needed.

    *Differentiable:* in `features`, twice; through a `PointTransition` not.
    *Sync:* none.
    *Deterministic:* yes, bit by bit, forward and backward.
    *Source:* Zhang et al., ELiTe, ICME 2024, as one sparse matrix.
    """
    if isinstance(operator, PointTransition):
        return _by_points(features, operator.fine, operator.coarse)
    return multiplied(operator.matrix, features, operator.transposed, operator.num_rows)


def multiplied(
    matrix: CsrMatrix,
    features: Tensor,
    transposed: CsrMatrix | None,  # for the gradient
    num_rows: Tensor | None = None,
) -> Tensor:
    """The matrix times the features."""

    def tensors(m: CsrMatrix) -> tuple[Tensor, Tensor, Tensor]:
        return m.offsets, m.columns, m.weights

    others = (None, None, None) if transposed is None else tensors(transposed)
    out: Tensor = torch.ops.elite_ops.transition(features, *tensors(matrix), *others, num_rows)
    return out


def _by_points(features: Tensor, fine: Segments, coarse: Segments) -> Tensor:
    if torch.is_grad_enabled() and features.requires_grad:
        raise RuntimeError(
            "transition: a PointTransition has no gradient; call it under torch.no_grad() or use "
            "build_transition"
        )
    out: Tensor = torch.ops.elite_ops.transition_by_points(
        features,
        fine.inverse,
        fine.offsets,
        coarse.inverse,
        coarse.order,
        coarse.offsets,
        coarse.num_rows,
    )
    return out


def _fake_build(
    fine_inverse: Tensor,
    fine_order: Tensor,
    fine_offsets: Tensor,
    coarse_inverse: Tensor,
    coarse_order: Tensor,
    coarse_offsets: Tensor,
) -> tuple[Tensor, ...]:
    def matrix(offsets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        columns = fine_inverse.new_empty(fine_inverse.shape)
        weights = fine_inverse.new_empty(fine_inverse.shape, dtype=torch.float32)
        return offsets.new_empty(offsets.shape), columns, weights

    return *matrix(coarse_offsets), *matrix(fine_offsets)


def _fake(features: Tensor, offsets: Tensor, *rest: Tensor | None) -> Tensor:
    return features.new_empty(offsets.shape[0] - 1, features.shape[1])


def _fake_by_points(
    features: Tensor,
    fine_inverse: Tensor,
    fine_offsets: Tensor,
    coarse_inverse: Tensor,
    coarse_order: Tensor,
    coarse_offsets: Tensor,
    num_rows: Tensor | None = None,
) -> Tensor:
    return features.new_empty(coarse_offsets.shape[0] - 1, features.shape[1])


def _setup_context(ctx: Any, inputs: tuple[Tensor | None, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[1:7])


def _backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
    """The transposed operator, whose own gradient is the operator."""
    matrix, transposed = ctx.saved_tensors[:3], ctx.saved_tensors[3:]
    if transposed[0] is None:
        raise ValueError(
            "transition: `transposed_offsets` must be given where a gradient is needed, got None"
        )
    grad_features = torch.ops.elite_ops.transition(grad_out, *transposed, *matrix)
    return grad_features, *([None] * 7)


register_fake("build_transition", _fake_build)
register_fake("transition", _fake)
register_fake("transition_by_points", _fake_by_points)
register_autograd("transition", _backward, setup_context=_setup_context)
