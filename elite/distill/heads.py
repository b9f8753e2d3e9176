"""The heads of distillation: two linear layers on voxels, or on an image's pixels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from elite_ops import patch_to_point

__all__ = ["PatchHead", "VoxelHead"]

PIXELS_AT_ONCE = 1 << 16  # whose hidden features exist at the same time


class VoxelHead(nn.Sequential):
    """Logits of voxels from one stage of the student."""

    def __init__(self, channels: int, hidden: int, num_classes: int) -> None:
        super().__init__(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, num_classes))


class PatchHead(nn.Module):
    """Logits of pixels from one or more stages of the teacher.

    By definition, the maps are resized to the image, concatenated, and put through two linear
    layers with a ReLU between them. A linear layer commutes with a bilinear resize, whose weights
    add up to 1, and that of a concatenation is the sum of the layers of its parts: so the first
    layer runs at the resolution of the patches, and only its result is read at the pixels that are
    asked for. That happens in portions, which the backward pass computes again: neither resized
    maps nor hidden features of all pixels are ever kept.
    """

    def __init__(self, channels: int, num_maps: int, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.hidden = nn.Linear(channels * num_maps, hidden)
        self.logits = nn.Linear(hidden, num_classes)

    def hidden_map(
        self,
        maps: Sequence[Tensor],  # each [B, channels, h, w]
    ) -> Tensor:  # [B, hidden, h, w]
        """The hidden layer before its ReLU, patch by patch."""
        weights = torch.split(self.hidden.weight[:, :, None, None], self.channels, dim=1)
        biases = [self.hidden.bias, *[None] * (len(weights) - 1)]
        parts = [F.conv2d(*terms) for terms in zip(maps, weights, biases, strict=True)]
        return reduce(torch.add, parts)

    def read(
        self,
        hidden_map: Tensor,  # [B, hidden, h, w]
        pixel: Tensor,  # [P, 2] int32 (row, col)
        image_index: Tensor,  # [P] int64
        image_size: tuple[int, int],
    ) -> Tensor:  # [P, num_classes]
        """Logits of some pixels of the images that the maps are of."""
        portions = zip(
            torch.split(pixel, PIXELS_AT_ONCE),
            torch.split(image_index, PIXELS_AT_ONCE),
            strict=True,
        )
        logits = [
            checkpoint(
                self._read_portion,
                *(hidden_map, *portion, image_size),
                use_reentrant=False,
                preserve_rng_state=False,  # nothing here is random
            )
            for portion in portions
        ]
        return torch.cat(logits)

    def _read_portion(
        self, hidden_map: Tensor, pixel: Tensor, image_index: Tensor, image_size: tuple[int, int]
    ) -> Tensor:
        hidden = patch_to_point(hidden_map, pixel, image_index, image_size)
        logits: Tensor = self.logits(F.relu(hidden))
        return logits
