"""The head: all scales meet at the points."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elite.student.pyramid import Level
from elite_ops import Segments, build_all_segments, intersect_segments, on_cuda, voxel_to_point
from elite_ops import most_likely as most_likely_of

__all__ = ["Head", "cells_of", "most_likely"]


class Head(nn.Module):
    """Two linear layers on the concatenation of every block's output at each point.

    The first layer is split over the blocks and applied on voxels: a sum of gathered products is
    the product of the concatenation, on fewer rows and without the [N, blocks * C] tensor. On the
    CPU the rest runs once for all the points that lie in the same voxels.
    """

    def __init__(self, channels: int, num_blocks: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(channels * num_blocks, hidden)
        self.logits = nn.Linear(hidden, num_classes)

    def forward(
        self,
        outputs: Sequence[Tensor],  # per block [V, C]
        levels: Sequence[Level],  # the level of each output
    ) -> Tensor:  # [N, num_classes]
        parts = [F.linear(x, *part) for x, part in zip(outputs, self.hidden_parts(), strict=True)]
        found = cells_of(levels)
        if found is None:
            return self._logits_of(parts, [level.points for level in levels])
        cells, rows = found
        voxels = build_all_segments(list(rows), [len(part) for part in parts])
        return voxel_to_point(self._logits_of(parts, voxels), cells)

    def _logits_of(self, parts: Iterable[Tensor], rows: Iterable[Segments]) -> Tensor:
        """The logits of points, or of cells, that read the parts at these rows."""
        hidden = reduce(Tensor.add_, map(voxel_to_point, parts, rows))
        logits: Tensor = self.logits(F.relu(hidden, inplace=True))
        return logits

    def hidden_parts(self) -> list[tuple[Tensor, Tensor | None]]:
        """The hidden layer's weight and bias for each block; all of the bias is in the first."""
        weights = torch.split(self.hidden.weight, self.channels, dim=1)
        return list(zip_longest(weights, [self.hidden.bias]))


def cells_of(levels: Sequence[Level]) -> tuple[Segments, Tensor] | None:
    """The cells of points that share their voxels at all levels, and the voxel of each, per level.

    None where counting the cells would wait: on CUDA, and with a fixed capacity.
    """
    points = [level.points for level in levels]
    inverse = points[0].inverse
    if on_cuda(inverse) or not inverse.is_cpu or points[0].num_rows is not None:
        return None
    return intersect_segments(points)


def most_likely(
    logits: Tensor,  # [N, num_classes]
    valid: Tensor | None = None,  # [N] bool, or int32, -1 = not valid
) -> Tensor:  # [N] int64
    """The class with the largest logit, never class 0, which stands for no label.

    Rows that aren't valid have none.
    """
    return most_likely_of(logits, valid, ignore_label=0)
