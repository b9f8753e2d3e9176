"""The head: all scales meet at the points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import zip_longest

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elite.student.pyramid import Level
from elite_ops import voxel_to_point

__all__ = ["Head"]


class Head(nn.Module):
    """Two linear layers on the concatenation of every block's output at each point.

    The first layer is split over the blocks and applied on voxels: a sum of gathered products is
    the product of the concatenation, on fewer rows and without the [N, blocks * C] tensor.
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
        gathered = map(voxel_to_point, parts, (level.points for level in levels))
        logits: Tensor = self.logits(F.relu(reduce(torch.add, gathered)))
        return logits

    def hidden_parts(self) -> list[tuple[Tensor, Tensor | None]]:
        """The hidden layer's weight and bias for each block; all of the bias is in the first."""
        weights = torch.split(self.hidden.weight, self.channels, dim=1)
        return list(zip_longest(weights, [self.hidden.bias]))
