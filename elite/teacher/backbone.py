"""What an image encoder must offer to teach."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint as checkpointed

from elite.teacher.checkpoint import CheckpointReport

__all__ = ["TOKEN_STRIDE", "Backbone", "run_block"]

TOKEN_STRIDE = 16  # pixels


class Backbone(nn.Module, ABC):
    """A frozen image encoder whose tokens are read at several depths.

    Attributes:
        channels: of a token.
        num_stages: how many depths there are.
        pixel_mean: of each colour, for images of 0..255.
        pixel_std: of each colour, for images of 0..255.
        adaptable: which Linears an adapter may be put on: a word such as "q", and a regular
            expression that their whole names match. The words "q" and "v" are LoRA's.
        report: what was loaded; none where the weights are random.
    """

    channels: int
    num_stages: int
    pixel_mean: tuple[float, float, float]
    pixel_std: tuple[float, float, float]
    adaptable: Mapping[str, str]
    report: CheckpointReport | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> list[Tensor]:
        """Encodes images.

        Args:
            images: [B, 3, H, W] float, normalized; H and W are multiples of 16.

        Returns:
            `num_stages` maps [B, channels, H / 16, W / 16], the shallow ones first.
        """

    @abstractmethod
    def cut(self, num_stages: int) -> None:
        """Leaves out the stages after the first `num_stages`, and all that only they need."""


def run_block(block: nn.Module, tokens: Tensor, recompute: bool) -> Tensor:
    """Runs a transformer block; with `recompute`, what it computes is not kept for the gradients.

    Args:
        block: without randomness, so that there is no random state to put back.
        tokens: [B, ..., C].
        recompute: compute the block a second time on the way back.
    """
    out: Tensor | tuple[Tensor, ...]
    if recompute and torch.is_grad_enabled():
        out = checkpointed(block, tokens, use_reentrant=False, preserve_rng_state=False)
    else:
        out = block(tokens)
    return out[0] if isinstance(out, tuple) else out
