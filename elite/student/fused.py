"""The student's inference form: the same function with what can be folded folded.

Exact identities, up to rounding: batch norm folds into the linear map before it, or, where an
activation stands between, into the one after it; a linear map commutes with a gather and with a
mean whose weights sum to one, so it runs on whichever side has fewer rows; the product with a
concatenation is a sum of products.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from elite.student.block import NEGATIVE_SLOPE, PointBranch, ResidualBlock, SPVBlock
from elite.student.features import PointFeatures
from elite.student.head import cells_of, most_likely
from elite.student.pyramid import Level, Pyramid, Step, build_pyramid
from elite_ops import (
    KernelMap,
    Segments,
    add_rows,
    encode_voxels,
    linear_fused,
    segment_mean,
    sparse_conv_fused,
    transition,
    voxel_to_point,
)

if TYPE_CHECKING:
    from elite.student.captured import CapturedStudent
    from elite.student.network import Student

__all__ = ["FusedStudent"]

MAX_RESIDUALS = 4  # that one `linear_fused` adds


def _scale_and_shift(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation mode is x * scale + shift."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return scale, norm.bias - norm.running_mean * scale


class FusedLinear(nn.Module):
    """A linear layer, transposed as `linear_fused` takes it, and the activation after it."""

    def __init__(self, weight: Tensor, bias: Tensor | None, negative_slope: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Buffer(weight.T.contiguous())
        self.bias = None if bias is None else nn.Buffer(bias.clone())
        self.negative_slope = negative_slope

    @classmethod
    def of(cls, linear: nn.Linear, negative_slope: float = 1.0) -> FusedLinear:
        return cls(linear.weight, linear.bias, negative_slope)

    @classmethod
    def after(cls, norm: nn.BatchNorm1d, linear: nn.Linear, negative_slope: float) -> FusedLinear:
        """With the batch norm before it folded in."""
        scale, shift = _scale_and_shift(norm)
        bias = linear.bias + linear.weight @ shift
        return cls(linear.weight * scale, bias, negative_slope)

    def padded(self) -> FusedLinear:
        """With columns of zeros up to a multiple of 8.

        Rows of the weight are then multiples of 16 bytes, which the tensor-core kernels ask for.
        """
        missing = -self.weight.shape[1] % 8
        bias = None if self.bias is None else F.pad(self.bias, (0, missing))
        return FusedLinear(F.pad(self.weight, (0, missing)).T, bias, self.negative_slope)

    def forward(
        self,
        x: Tensor,
        *,
        rows: Tensor | None = None,
        residuals: Sequence[tuple[Tensor, Tensor | None]] = (),
        num_rows: Tensor | None = None,
    ) -> Tensor:
        return linear_fused(
            x,
            self.weight,
            self.bias,
            rows=rows,
            residuals=residuals,
            negative_slope=self.negative_slope,
            num_rows=num_rows,
        )


class FusedPointFeatures(nn.Module):
    """The MLP's first layer and the mean in one pass; its last layer runs on the voxels."""

    def __init__(self, features: PointFeatures) -> None:
        super().__init__()
        first, _, last = cast("Sequence[Any]", features.mlp)
        self.weight = nn.Buffer(first.weight.T.contiguous())
        self.bias = nn.Buffer(first.bias.clone())
        self.voxel_layer = FusedLinear.of(last)
        self.voxel_size = features.voxel_size
        self.origin = features.origin

    def forward(self, points: Tensor, level: Level) -> Tensor:
        means = encode_voxels(
            points,
            level.points,
            level.voxels.indices,
            self.weight,
            self.bias,
            voxel_size=self.voxel_size,
            origin=self.origin,
        )
        features: Tensor = self.voxel_layer(means, num_rows=level.points.num_rows)
        return features


class FusedResidualBlock(nn.Module):
    """Two convolutions with bias, activation and shortcut in their epilogues."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.conv1, self.bias1 = self._fold_convolution(block.conv1.weight, block.norm1)
        self.conv2, bias2 = self._fold_convolution(block.conv2.weight, block.norm2)
        scale, shift = _scale_and_shift(block.shortcut_norm)
        self.shortcut = nn.Buffer((block.shortcut.weight * scale[:, None]).T.contiguous())
        self.bias2 = nn.Buffer(bias2 + shift)

    @staticmethod
    def _fold_convolution(weight: Tensor, norm: nn.BatchNorm1d) -> tuple[nn.Buffer, nn.Buffer]:
        scale, shift = _scale_and_shift(norm)
        return nn.Buffer((weight * scale).flatten(0, 2)), nn.Buffer(shift)

    def forward(self, x: Tensor, kernel_map: KernelMap) -> Tensor:
        inner = sparse_conv_fused(
            x, self.conv1, kernel_map, self.bias1, negative_slope=NEGATIVE_SLOPE
        )
        return sparse_conv_fused(
            inner,
            self.conv2,
            kernel_map,
            self.bias2,
            shortcut=(x, self.shortcut),
            negative_slope=NEGATIVE_SLOPE,
        )


class FusedPointBranch(nn.Module):
    """The point branch up to, and without, the last layer of its output MLP."""

    def __init__(self, branch: PointBranch) -> None:
        super().__init__()
        first, _, norm1, second, _, norm2, third, _ = cast("Sequence[Any]", branch.context)
        self.identity = FusedLinear.of(branch.identity, NEGATIVE_SLOPE)
        mix = cast(nn.Linear, branch.output[0])
        of_identity, of_context = torch.split(mix.weight, branch.identity.out_features, dim=1)
        self.mix_identity = FusedLinear(of_identity, mix.bias, NEGATIVE_SLOPE)
        self.context = nn.ModuleList(
            [
                FusedLinear.of(first, NEGATIVE_SLOPE),
                FusedLinear.after(norm1, second, NEGATIVE_SLOPE),
                FusedLinear.after(norm2, third, NEGATIVE_SLOPE),
                FusedLinear(of_context, None),
            ]
        )

    def forward(self, features: Tensor, level: Level, step: Step) -> Tensor:
        context = segment_mean(features, step.halved)
        for layer in self.context:
            context = layer(context, num_rows=step.halved.num_rows)
        num_rows = level.points.num_rows
        identity = self.identity(features, num_rows=num_rows)
        residuals = [(context, step.halved.inverse)]
        mixed: Tensor = self.mix_identity(identity, residuals=residuals, num_rows=num_rows)
        return mixed


class FusedBlock(nn.Module):
    """One SPV block without the last layer of its output MLP."""

    def __init__(self, block: SPVBlock) -> None:
        super().__init__()
        self.residual_blocks = nn.ModuleList(
            FusedResidualBlock(cast(ResidualBlock, b)) for b in block.voxel_branch
        )
        self.point_branch = FusedPointBranch(block.point_branch)

    def forward(self, x: Tensor, level: Level, step: Step) -> tuple[Tensor, Tensor]:
        """The voxel branch's result on the voxels of the level, the other's on the coarser ones."""
        stage = x
        for block in self.residual_blocks:
            stage = block(stage, level.voxels.submanifold_map())
        num_rows = level.points.num_rows
        if num_rows is None:
            x += stage  # in place: nobody reads the block's input again
        else:
            x = add_rows(x, stage, num_rows)
        return stage, transition(self.point_branch(x, level, step), step.transition)


class FusedStudent(nn.Module):
    """A student for inference alone: `Student.fused()` makes one from the weights of the moment."""

    @torch.no_grad()
    def __init__(self, student: Student) -> None:
        super().__init__()
        student = copy.deepcopy(student)  # what is not folded must not follow later training
        self.config = student.config
        self.point_features = FusedPointFeatures(student.point_features)
        self.blocks = nn.ModuleList(FusedBlock(cast(SPVBlock, b)) for b in student.blocks)
        # The last layer of each block's output MLP: into the next block, and folded into the head.
        outputs = [
            cast(nn.Linear, cast(SPVBlock, b).point_branch.output[2]) for b in student.blocks
        ]
        self.outputs = nn.ModuleList(FusedLinear.of(output) for output in outputs[:-1])
        hidden = student.head.hidden
        parts = zip(student.head.hidden_parts(), outputs, strict=True)
        folded = [weight @ output.weight for (weight, _), output in parts]
        bias = hidden.bias + hidden.weight @ torch.cat([output.bias for output in outputs])
        self.hidden = FusedLinear(folded[0], bias, negative_slope=0.0)
        self.parts = nn.ModuleList(FusedLinear(weight, None) for weight in folded[1:])
        self.classes = FusedLinear.of(student.head.logits).padded()
        self.eval()

    @torch.no_grad()
    def forward(
        self,
        points: Tensor,  # [N, 4] float32: x, y, z (metres), remission
        batch_index: Tensor | None,  # [N] int64
        batch_size: int = 1,
        capacity: Sequence[int] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits [N, num_classes] (0 outside the range) and which points are inside, [N] bool.

        Args:
            capacity: as `pyramid` takes it.
        """
        pyramid = self.pyramid(points, batch_index, batch_size, capacity)
        valid = pyramid.valid
        return self.logits(points, pyramid) * valid[:, None], valid

    def capture(
        self,
        max_points: int,
        batch_size: int = 1,
        dtype: torch.dtype = torch.float16,
        *,
        max_voxels: int | Sequence[int] | None = None,
    ) -> CapturedStudent:
        """This student for up to `max_points` points at a time, on CUDA as one CUDA graph.

        Args:
            batch_size: the number of scans that come at once.
            dtype: what the network computes in; sums are formed in float32 in any case. The points
                are float32.
            max_voxels: at each scale, one number or one per scale, to save memory; None: as many
                as the points can have.

        Raises:
            ValueError: if a number makes no sense.
        """
        from elite.student.captured import CapturedStudent

        network = copy.deepcopy(self).to(dtype)
        return CapturedStudent(network, max_points, batch_size, max_voxels)

    def pyramid(
        self,
        points: Tensor,  # [N, 4] float32
        batch_index: Tensor | None,  # [N] int64
        batch_size: int,
        capacity: Sequence[int] | None = None,
    ) -> Pyramid:
        """The batch's voxels at every scale, and what leads from one to the next.

        Args:
            capacity: rows of each scale's buffers, so that nothing waits for the device to count
                the voxels; None: as many as voxels.
        """
        return build_pyramid(
            points, batch_index, batch_size, self.config, capacity=capacity, differentiable=False
        )

    def logits(self, points: Tensor, pyramid: Pyramid) -> Tensor:
        """The network alone, on a pyramid that is already built."""
        logits, cells = self._logits_of_cells(points, pyramid)
        return logits if cells is None else voxel_to_point(logits, cells)

    def labels(self, points: Tensor, pyramid: Pyramid) -> Tensor:  # [N] int64
        """The most likely class of each point, on a pyramid that is already built; 0 outside."""
        logits, cells = self._logits_of_cells(points, pyramid)
        if cells is None:
            return most_likely(logits, pyramid.point_rows)
        # -1 takes the last, which is 0.
        return F.pad(most_likely(logits), (0, 1))[cells.inverse]

    def _logits_of_cells(
        self, points: Tensor, pyramid: Pyramid
    ) -> tuple[Tensor, Segments | None]:  # logits [M, num_classes], the points of each cell
        """Logits for all points of a cell together; for each point where there are no cells."""
        x = self.point_features(points, pyramid.levels[0])
        mixed: list[Tensor] = []
        for i, (block, step) in enumerate(zip(self.blocks, pyramid.steps, strict=True)):
            fine, coarse = pyramid.levels[i : i + 2]
            stage, at_coarse = block(x, fine, step)
            mixed.append(at_coarse)
            if i < len(self.outputs):
                residuals = [(transition(stage, step.transition), None)]
                num_rows = coarse.points.num_rows
                x = self.outputs[i](at_coarse, residuals=residuals, num_rows=num_rows)
        levels = pyramid.levels[1:]
        found = cells_of(levels)
        cells, rows = found or (None, [level.points.inverse for level in levels])
        return self._head(mixed, levels, list(rows)), cells

    def _head(
        self,
        mixed: Sequence[Tensor],  # per block, on the voxels of its coarser level
        levels: Sequence[Level],  # those levels
        rows: Sequence[Tensor],  # per level [M] int32: the voxel of each row of the result
    ) -> Tensor:  # [M, num_classes]
        residuals: list[tuple[Tensor, Tensor | None]] = []
        for part, at_voxels, level, own in zip(
            self.parts, mixed[1:], levels[1:], rows[1:], strict=True
        ):
            if len(residuals) < MAX_RESIDUALS:
                residuals.append((part(at_voxels, num_rows=level.points.num_rows), own))
            else:
                residuals = [(part(at_voxels, rows=own, residuals=residuals), None)]
        hidden = self.hidden(mixed[0], rows=rows[0], residuals=residuals)
        logits: Tensor = self.classes(hidden)[:, : self.config.num_classes]
        return logits
